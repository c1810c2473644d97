import type { Timer } from "../core/clock.ts";
import { FlowErrors, formatError, isTransient, toFlowError } from "../core/errors.ts";
import type { FlowError } from "../core/errors.ts";
import { type EngineOptions, FlowRun } from "../engine/flow_run.ts";
import { backoff } from "../engine/retry.ts";
import type { Flow } from "../flow/flow.ts";
import { assignClaims, type Wanted } from "./desired.ts";
import { diffFlows } from "./diff.ts";
import { errorOf, type FlowStatus, shortVersion } from "./status.ts";

/** Milliseconds a replaced or stopped flow has for what is under way. */
const DRAIN_DEADLINE = 30_000;
/** Flows prepared at once: most of it is waiting for files and connections. */
const PREPARE_AT_ONCE = 16;

/** What is known of one identity. */
interface Entry {
  wanted: Wanted | null;
  run: FlowRun | null;
  /** Why the wanted version does not run. */
  error: FlowError | null;
  /** When `state` became what it is, milliseconds since 1970. */
  since: number;
}

/** Makes what runs follow what is wanted. One set is applied at a time; a newer one waits its turn. */
export class Reconciler {
  readonly #entries = new Map<string, Entry>();
  readonly #draining = new Set<Promise<unknown>>();
  #applying: Promise<void> = Promise.resolve();
  #wanted: readonly Wanted[] = [];
  #retry: Timer | null = null;
  #retries = 0;
  #stopped = false;

  constructor(readonly options: EngineOptions) {}

  /**
   * Applies a set of flows, ordered by precedence. Resolves once all that can run is running; what
   * cannot is in the status. Never rejects.
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
    await this.#applying;
    const runs = [...this.#entries.values()].flatMap(({ run }) => run ? [run] : []);
    const results = await Promise.all(runs.map((run) => run.stop(deadline)));
    await Promise.all(this.#draining);
    return results.every((inTime) => inTime);
  }

  status(): FlowStatus[] {
    return [...this.#entries].map(([identity, entry]) => this.#statusOf(identity, entry))
      .sort((a, b) => a.identity < b.identity ? -1 : 1);
  }

  #enqueue(): Promise<void> {
    const applied = this.#applying.then(() => this.#stopped ? undefined : this.#apply());
    this.#applying = applied;
    return applied;
  }

  async #apply(): Promise<void> {
    const wanted = this.#wanted;
    this.#forgetUnwanted(wanted);
    const flows = this.#effective(wanted);
    const running = new Map(
      [...this.#entries].flatMap(([identity, { run }]) =>
        run ? [[identity, run.flow.digest] as const] : []
      ),
    );
    const changes = diffFlows(flows, running);
    // First everything is made ready, then everything switches in one go.
    const ready = await this.#prepareAll(
      changes.flatMap((change) => change.kind === "stop" ? [] : [change.flow]),
    );
    for (const change of changes) {
      if (change.kind !== "stop") continue;
      const entry = this.#entries.get(change.identity)!;
      this.#drain(entry.run!);
      entry.run = null;
      entry.since = this.#now();
    }
    for (const run of ready) this.#switch(run);
    for (const [identity, entry] of this.#entries) {
      if (entry.wanted === null && entry.run === null) this.#entries.delete(identity);
    }
    this.#retryLater();
  }

  /** Marks what is no longer wanted, and takes in what is new. */
  #forgetUnwanted(wanted: readonly Wanted[]): void {
    for (const entry of this.#entries.values()) entry.wanted = null;
    for (const one of wanted) {
      const entry = this.#entries.get(one.identity);
      if (entry) entry.wanted = one;
      else {
        this.#entries.set(one.identity, {
          wanted: one,
          run: null,
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
        if (entry.run) flows.push(entry.run.flow);
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
      const error = losers.get(flow.identity);
      if (!error) return [flow];
      const entry = this.#entries.get(flow.identity)!;
      this.#reject(entry, error);
      return entry.run ? [entry.run.flow] : [];
    });
    const again = assignClaims(kept);
    return kept.filter((flow) => !again.has(flow.identity));
  }

  async #prepareAll(flows: readonly Flow[]): Promise<FlowRun[]> {
    const ready: FlowRun[] = [];
    const queue = flows.values();
    const worker = async () => {
      for (const flow of queue) {
        const entry = this.#entries.get(flow.identity)!;
        try {
          ready.push(await FlowRun.prepare(flow, this.options));
        } catch (cause) {
          this.#reject(entry, cause instanceof FlowErrors ? cause : toFlowError(cause));
        }
      }
    };
    await Promise.all(Array.from({ length: PREPARE_AT_ONCE }, worker));
    return ready;
  }

  #switch(run: FlowRun): void {
    const entry = this.#entries.get(run.flow.identity)!;
    const old = entry.run;
    entry.run = run;
    entry.error = null;
    entry.since = this.#now();
    run.start(old ? this.#drain(old) : undefined);
    for (const { message, position } of run.flow.warnings) {
      this.options.log.warning(message, { flow: run.flow.identity, ...position });
    }
    this.options.log.info(old ? "Flow replaced" : "Flow started", {
      flow: run.flow.identity,
      version: shortVersion(run.flow.digest),
    });
  }

  #drain(run: FlowRun): Promise<void> {
    const drained = run.stop(DRAIN_DEADLINE).then((inTime) => {
      this.#draining.delete(drained);
      if (!inTime) {
        this.options.log.warning("A flow stopped before all was done", {
          flow: run.flow.identity,
          version: shortVersion(run.flow.digest),
        });
      }
    });
    this.#draining.add(drained);
    return drained;
  }

  #reject(entry: Entry, cause: FlowErrors | FlowError): void {
    const error = cause instanceof FlowErrors ? cause.findings[0]! : cause;
    const known = entry.error && formatError(entry.error) === formatError(error);
    entry.error = error;
    if (known) return;
    entry.since = this.#now();
    const findings = cause instanceof FlowErrors ? cause.findings : [cause];
    for (const finding of findings) {
      this.options.log.error(
        entry.run ? "Flow is broken, its last good version runs on" : "Flow does not run",
        { flow: entry.wanted?.identity, error: formatError(finding) },
      );
    }
  }

  /** What failed for a passing reason is prepared again by itself. */
  #retryLater(): void {
    this.#retry?.clear();
    this.#retry = null;
    if (this.#stopped) return;
    const waiting = [...this.#entries.values()].some(({ error }) => error && isTransient(error));
    if (!waiting) return;
    const { services, retry } = this.options;
    this.#retries++;
    this.#retry = services.clock.after(backoff(retry, this.#retries, services.random), () => {
      void this.#enqueue();
    });
  }

  #statusOf(identity: string, { wanted, run, error, since }: Entry): FlowStatus {
    const health = run?.health();
    const flow = wanted && !(wanted.flow instanceof FlowErrors) ? wanted.flow : null;
    const state = error
      ? (isTransient(error) ? "degraded" : "invalid")
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
      ...errorOf(error ?? health?.error),
    };
  }

  #now(): number {
    return this.options.services.clock.now();
  }
}
