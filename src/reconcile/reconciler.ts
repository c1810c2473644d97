import { sleep, type Timer } from "../core/clock.ts";
import {
  FlowError,
  FlowErrors,
  formatError,
  isTransient,
  textOf,
  toFlowError,
} from "../core/errors.ts";
import type { EngineOptions, FlowRun } from "../engine/flow_run.ts";
import { backoff } from "../engine/retry.ts";
import type { Flow } from "../flow/flow.ts";
import { assignClaims, type Wanted } from "./desired.ts";
import { diffFlows } from "./diff.ts";
import { Preparation } from "./preparation.ts";
import { Standing } from "./standing.ts";
import { errorOf, type FlowStatus, shortVersion } from "./status.ts";

/** Milliseconds a replaced or stopped flow has for what is under way. */
const DRAIN_DEADLINE = 30_000;
/** One snapshot switches as one step, but a flow that takes longer to prepare follows by itself. */
const PREPARE_TOGETHER = 2_000;

/** What is known of one identity. */
interface Entry {
  wanted: Wanted | null;
  run: FlowRun | null;
  /** The last good version, which an elected flow goes back to after a loss. */
  last: Flow | null;
  /** Of an elected flow. */
  standing: Standing | null;
  preparation: Preparation | null;
  /** Why the wanted version does not run. */
  error: FlowError | null;
  /** When `state` became what it is, milliseconds since 1970. */
  since: number;
}

/** Makes what runs follow what is wanted. One set is applied at a time; a newer one waits its turn. */
export class Reconciler {
  readonly #entries = new Map<string, Entry>();
  readonly #draining = new Map<FlowRun, Promise<void>>();
  /** Elected flows that this node lets go of, by identity. */
  readonly #leaving = new Map<string, Promise<void>>();
  #applying: Promise<void> = Promise.resolve();
  #wanted: readonly Wanted[] = [];
  #retry: Timer | null = null;
  #retries = 0;
  #stopped = false;

  constructor(readonly options: EngineOptions) {}

  /**
   * Applies a set of flows, ordered by precedence. Resolves once all that can run soon is running;
   * what cannot is in the status. Never rejects.
   */
  apply(wanted: readonly Wanted[]): Promise<void> {
    this.#wanted = wanted;
    this.#retries = 0;
    return this.#enqueue();
  }

  /** Stops all flows; resolves to whether everything under way was finished in time. */
  async stop(deadline: number): Promise<boolean> {
    this.#stopped = true;
    this.#retry?.clear();
    const entries = [...this.#entries.values()];
    // An `apply` that waits for them goes on then, and sees that it is over.
    await Promise.all(entries.map((entry) => this.#forget(entry)));
    await this.#applying;
    const draining = [...this.#draining.keys()].map((run) => run.stop(deadline));
    const stopped = entries.map((entry) => {
      const ended = entry.run?.stop(deadline) ?? Promise.resolve(true);
      // A claim is free as soon as its flow has ended, however long others take.
      void this.#leave(entry, ended);
      return ended;
    });
    const results = await Promise.all([...draining, ...stopped]);
    await Promise.all(this.#leaving.values());
    return results.every((inTime) => inTime);
  }

  status(): FlowStatus[] {
    return [...this.#entries].map(([identity, entry]) => this.#statusOf(identity, entry))
      .sort((a, b) => a.identity < b.identity ? -1 : 1);
  }

  #enqueue(): Promise<void> {
    const applied = this.#applying
      .then(() => this.#stopped ? undefined : this.#apply())
      .catch((cause) => {
        const { code, message, stack } = toFlowError(cause, "reconcile.failed");
        this.options.log.error("Flows were not brought up to date", {
          code,
          error: message,
          stack,
        });
      });
    this.#applying = applied;
    return applied;
  }

  async #apply(): Promise<void> {
    this.#takeIn(this.#wanted);
    const effective = this.#effective(this.#wanted);
    const changes = diffFlows(effective, this.#running());
    const wanted = changes.flatMap((change) => change.kind === "stop" ? [] : [change.flow]);
    // First everything is made ready, then everything switches in one go.
    const ready = await this.#prepare(wanted);
    if (this.#stopped) {
      await Promise.all(ready.map((run) => run.discard()));
      return;
    }
    for (const change of changes) {
      if (change.kind === "stop") this.#stopFlow(this.#entries.get(change.identity)!);
    }
    for (const run of ready) this.#switch(run);
    const kept = new Set(effective.map(({ identity }) => identity));
    for (const [identity, entry] of this.#entries) {
      if (entry.run) continue;
      if (!kept.has(identity)) {
        entry.last = null;
        void this.#leave(entry);
      }
      if (entry.wanted === null) this.#entries.delete(identity);
    }
    this.#retryLater();
  }

  #running(): Map<string, string> {
    const running = new Map<string, string>();
    for (const [identity, { run }] of this.#entries) {
      if (run) running.set(identity, run.flow.digest);
    }
    return running;
  }

  /** Marks what is no longer wanted, and takes in what is new. */
  #takeIn(wanted: readonly Wanted[]): void {
    for (const entry of this.#entries.values()) entry.wanted = null;
    for (const one of wanted) {
      const entry = this.#entries.get(one.identity);
      if (entry) entry.wanted = one;
      else {
        this.#entries.set(one.identity, {
          wanted: one,
          run: null,
          last: null,
          standing: null,
          preparation: null,
          error: null,
          since: this.#now(),
        });
      }
    }
  }

  /** The flows that shall run: the wanted version, or the last good one where that is broken. */
  #effective(wanted: readonly Wanted[]): Flow[] {
    const flows: Flow[] = [];
    for (const one of wanted) {
      const entry = this.#entries.get(one.identity)!;
      if (one.flow instanceof FlowErrors) {
        this.#reject(entry, one.flow);
        if (entry.last) flows.push(entry.last);
        continue;
      }
      // What already runs needs no proof; an error that was mended by going back is over.
      if (!one.flow.enabled || entry.run?.flow.digest === one.flow.digest) entry.error = null;
      if (one.flow.enabled) flows.push(one.flow);
    }
    return this.#withoutClashes(flows);
  }

  /** Leaves out flows that claim what another one holds; their last good version may run on. */
  #withoutClashes(flows: readonly Flow[]): Flow[] {
    const losers = assignClaims(flows);
    if (losers.size === 0) return [...flows];
    const kept = flows.flatMap((flow) => {
      if (!losers.has(flow.identity)) return [flow];
      return this.#entries.get(flow.identity)!.last ?? [];
    });
    const again = assignClaims(kept);
    const stays = (identity: string) => !again.has(identity);
    for (const [identity, error] of [...again, ...losers]) {
      const entry = this.#entries.get(identity)!;
      const isBroken = entry.wanted?.flow instanceof FlowErrors;
      // What is wrong with the file itself was told, and says more than what its old version lost.
      if (!isBroken) this.#reject(entry, error, entry.run !== null && stays(identity));
    }
    return kept.filter((flow) => stays(flow.identity));
  }

  /** Those that are ready in time; the others come with a later `apply` of their own. */
  async #prepare(flows: readonly Flow[]): Promise<FlowRun[]> {
    const wanted = new Map(flows.map((flow) => [flow.identity, flow.digest]));
    for (const [identity, entry] of this.#entries) {
      if (entry.preparation && entry.preparation.digest !== wanted.get(identity)) {
        await this.#forget(entry);
      }
    }
    if (this.#stopped) return [];
    const preparations = flows.map((flow) => {
      const entry = this.#entries.get(flow.identity)!;
      return { entry, preparation: entry.preparation ??= new Preparation(flow, this.options) };
    });
    const over = new AbortController();
    await Promise.race([
      Promise.all(preparations.map(({ preparation }) => preparation.ended)),
      sleep(this.options.services.clock, PREPARE_TOGETHER, over.signal),
    ]);
    over.abort();
    return preparations.flatMap(({ entry, preparation }) => {
      const { run, error } = preparation;
      // Who cannot run a flow, or not yet, must not keep it from the nodes that can.
      if (!run && !entry.run) this.#leave(entry);
      if (!run && !error) {
        this.#reject(entry, slow());
        void preparation.ended.then(() => this.#enqueue());
        return [];
      }
      entry.preparation = null;
      if (error) this.#reject(entry, error);
      return run ? [run] : [];
    });
  }

  /** Gives up a preparation that nobody wants any more. */
  async #forget(entry: Entry): Promise<void> {
    const { preparation } = entry;
    entry.preparation = null;
    await preparation?.abandon();
  }

  #stopFlow(entry: Entry): void {
    const { run } = entry;
    entry.run = null;
    entry.since = this.#now();
    const drained = this.#drain(run!);
    this.#leave(entry, drained);
  }

  /** Gives up an elected flow once it has ended here. */
  #leave(entry: Entry, ended: Promise<unknown> = Promise.resolve()): Promise<void> {
    const { standing } = entry;
    if (!standing) return ended.then(() => {});
    entry.standing = null;
    const { identity } = standing.flow;
    const before = this.#leaving.get(identity);
    const left = standing.withdraw(ended).then(() => before).catch((cause) => {
      this.options.log.warning("The claim of a flow was not released; it passes on by itself", {
        flow: identity,
        error: textOf(cause),
      });
    }).then(() => {
      if (this.#leaving.get(identity) === left) this.#leaving.delete(identity);
    });
    this.#leaving.set(identity, left);
    return left;
  }

  #switch(run: FlowRun): void {
    const entry = this.#entries.get(run.flow.identity)!;
    const old = entry.run;
    entry.run = run;
    entry.last = run.flow;
    entry.error = null;
    entry.since = this.#now();
    this.#start(entry, run, old);
    for (const { message, position } of run.flow.warnings) {
      this.options.log.warning(message, { flow: run.flow.identity, ...position });
    }
    const waits = entry.standing !== null && !entry.standing.atWork;
    this.options.log.info(waits ? "Flow stands by" : old ? "Flow replaced" : "Flow started", {
      flow: run.flow.identity,
      version: shortVersion(run.flow.digest),
    });
  }

  #start(entry: Entry, run: FlowRun, old: FlowRun | null): void {
    const { standing } = entry;
    if (!run.flow.requireLeaderElection) {
      const drained = old ? this.#drain(old) : undefined;
      run.start(standing ? this.#leave(entry, drained) : drained);
    } else if (standing) standing.take(run);
    else {
      const { identity } = run.flow;
      const before = old ? this.#drain(old) : this.#leaving.get(identity);
      entry.standing = new Standing(run, {
        cluster: this.options.services.cluster,
        log: this.options.log,
        drain: (ended) => this.#drain(ended),
        over: (ended) => {
          if (entry.run !== ended) return; // the next generation is there already
          entry.run = null;
          entry.since = this.#now();
          void this.#enqueue();
        },
      }, before);
    }
  }

  #drain(run: FlowRun): Promise<void> {
    const drained = run.stop(DRAIN_DEADLINE).then((inTime) => {
      this.#draining.delete(run);
      if (!inTime) {
        this.options.log.warning("A flow stopped before all was done", {
          flow: run.flow.identity,
          version: shortVersion(run.flow.digest),
        });
      }
    });
    this.#draining.set(run, drained);
    return drained;
  }

  #reject(entry: Entry, cause: FlowErrors | FlowError, runsOn = entry.run !== null): void {
    const error = cause instanceof FlowErrors ? cause.findings[0]! : cause;
    const known = entry.error && formatError(entry.error) === formatError(error);
    entry.error = error;
    if (known) return;
    entry.since = this.#now();
    const findings = cause instanceof FlowErrors ? cause.findings : [cause];
    for (const finding of findings) {
      this.options.log.error(
        runsOn ? "Flow is broken, its last good version runs on" : "Flow does not run",
        { flow: entry.wanted?.identity, error: formatError(finding) },
      );
    }
  }

  /** What failed for a passing reason is prepared again by itself. */
  #retryLater(): void {
    this.#retry?.clear();
    this.#retry = null;
    const waiting = [...this.#entries.values()].some(({ error, preparation }) =>
      error && !preparation && isTransient(error)
    );
    if (!waiting) return;
    const { services, retry } = this.options;
    this.#retries++;
    this.#retry = services.clock.after(backoff(retry, this.#retries, services.random), () => {
      void this.#enqueue();
    });
  }

  #statusOf(identity: string, { wanted, run, standing, error, since }: Entry): FlowStatus {
    const health = run?.health();
    const flow = wanted && !(wanted.flow instanceof FlowErrors) ? wanted.flow : null;
    const state = error
      ? (isTransient(error) ? "degraded" : "invalid")
      : standing && !standing.atWork
      ? "standby"
      : health
      ? health.state
      : flow?.enabled === false
      ? "disabled"
      : "stopped";
    return {
      identity,
      source: wanted?.source ?? "files",
      file: wanted?.file ?? run?.flow.file ?? "",
      state,
      since: new Date(error || !health ? since : health.since).toISOString(),
      desired: flow ? shortVersion(flow.digest) : null,
      running: run ? shortVersion(run.flow.digest) : null,
      open: health?.open ?? 0,
      tasks: health?.tasks ?? [],
      ...(standing && { owner: standing.claim?.owner ?? null, epoch: standing.claim?.epoch ?? 0 }),
      ...errorOf(error ?? health?.error),
    };
  }

  #now(): number {
    return this.options.services.clock.now();
  }
}

function slow(): FlowError {
  return new FlowError("task.preparing", "The flow is still being prepared", {
    hint: "it starts by itself when its tasks are ready",
  });
}
