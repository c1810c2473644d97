import type { Clock } from "../../core/clock.ts";
import type { ChildHandle, ChildListener } from "./process.ts";
import type { HostOp } from "./inside.ts";
import type { CagedScript, Job } from "./job.ts";
import { wrapBody } from "./wrap.ts";
import type { Frame } from "./wire.ts";

/**
 * Scripts one context is given before it is made anew: what a context has compiled stays in memory as
 * long as it lives, also when nothing refers to it any more (seen with Deno 2.9).
 */
const MOST_INSTALLS = 200;

/** Contexts alive in one child; each costs about half a megabyte. */
const MOST_CONTEXTS = 64;

/** Patience beyond a script's own time for a child that says nothing at all any more. */
const SILENCE = 2_000;

interface Batch {
  readonly jobs: readonly Job[];
  readonly script: CagedScript;
  left: number;
}

/** Why a child had to go, as far as it is known. */
export interface Loss {
  /** The event that did it, where that is certain. */
  readonly culprit?: Job;
  /** Events one of which did it. */
  readonly suspects: readonly Job[];
  /** Events that only happened to be there. */
  readonly others: readonly Job[];
  readonly memory: boolean;
}

export interface SeatOwner {
  /** There is room for another batch. */
  free(): void;
  /** The child is gone, whoever ended it; called once. */
  lost(loss: Loss): void;
  script(id: number): CagedScript | undefined;
}

/** One child and what it has been given to do. */
export class Seat implements ChildListener {
  #child: ChildHandle | undefined;
  readonly #batches = new Map<number, Batch>();
  /** What each flow has installed, least recently used first. */
  readonly #flows = new Map<string, { readonly scripts: Set<number>; installs: number }>();
  #nextBatch = 1;
  #culprit: Job | undefined;
  #tooBig = false;
  #lastSign = 0;
  #gone = false;
  #retired = false;
  readonly since: number;
  idleSince: number;

  constructor(readonly owner: SeatOwner, readonly clock: Clock) {
    this.since = this.idleSince = clock.monotonic();
  }

  /** @throws {FlowError} `script.child_start` */
  async start(start: (listener: ChildListener) => Promise<ChildHandle>): Promise<void> {
    this.#child = await start(this);
  }

  /** Whether it takes batches. */
  get ready(): boolean {
    return this.#child !== undefined && !this.#gone && !this.#retired;
  }

  get batches(): number {
    return this.#batches.size;
  }

  run(jobs: readonly Job[]): void {
    const { script } = jobs[0]!;
    const flow = this.#install(script);
    const batch = this.#nextBatch++;
    if (this.#batches.size === 0) this.#sign();
    this.#batches.set(batch, { jobs, script, left: jobs.length });
    const body = `[${jobs.map((job) => job.text).join(",")}]`;
    this.#child!.send(`batch ${flow} ${batch} ${script.id}`, body);
  }

  /** The last script of a flow, or one of its scripts, is no longer used. */
  forget({ id, source: { flow } }: CagedScript): void {
    const scripts = this.#flows.get(flow)?.scripts;
    if (!scripts?.delete(id) || !this.ready) return;
    if (scripts.size > 0) this.#child!.send(`forget-script ${encodeURIComponent(flow)} ${id}`);
    else this.#forgetFlow(flow);
  }

  /** Looks after events that wait too long and children that say nothing. */
  sweep(): void {
    if (this.#gone) return;
    const now = this.clock.monotonic();
    for (const [id, { jobs, script }] of this.#batches) {
      if (!script.prepared.isAsync) {
        if (now - this.#lastSign > script.timeout + SILENCE) return this.#end();
        continue;
      }
      jobs.forEach((job, index) => {
        if (job.answered) return;
        if (job.cancelledAt !== undefined) {
          // The child does not even answer that; the watcher knows whose fault it is, if it lives.
          if (now - job.cancelledAt > script.timeout + SILENCE) this.#end();
        } else if (
          job.startedAt !== undefined && (job.done || now - job.startedAt > script.timeout)
        ) {
          job.cancelledAt = now;
          const flow = encodeURIComponent(script.source.flow);
          this.#child!.send(`cancel ${flow} ${id} ${index}`);
        } else if (job.startedAt === undefined && now - this.#lastSign > script.timeout + SILENCE) {
          this.#end();
        }
      });
    }
  }

  /** Finishes what it has been given and ends. */
  retire(): void {
    this.#retired = true;
    if (this.#batches.size === 0) this.#end();
  }

  close(): Promise<void> {
    this.#end();
    return this.#child?.gone ?? Promise.resolve();
  }

  frame({ head: [type, ...words], body }: Frame): void {
    if (this.#gone) return;
    this.#sign();
    switch (type) {
      case "done":
        return this.#results(Number(words[0]), Number(words[1]), JSON.parse(body));
      case "started": {
        const job = this.#batches.get(Number(words[0]))?.jobs[Number(words[1])];
        if (job) job.startedAt = this.clock.monotonic();
        return;
      }
      case "items":
        for (const item of JSON.parse(body)) this.#item(decodeURIComponent(words[0]!), item);
        return;
      case "refused":
        return this.#refused(Number(words[0]), JSON.parse(body));
      default:
        this.#end();
    }
  }

  at(batch: number, index: number, ms: number): void {
    this.#sign();
    const job = this.#batches.get(batch)?.jobs[index];
    if (!job || ms < job.script.timeout) return;
    this.#culprit ??= job;
    this.#end();
  }

  tooBig(): void {
    this.#tooBig = true;
    this.#end();
  }

  ended(outOfMemory: boolean): void {
    this.#gone = true;
    if (!this.#child) return;
    const culprit = this.#culprit;
    const suspects: Job[] = [];
    const others: Job[] = [];
    let first = true;
    for (const { jobs, script } of this.#batches.values()) {
      const open = jobs.filter((job) => !job.done && job !== culprit);
      // Batches that do not wait run one after another: only the first had begun.
      const begun = script.prepared.isAsync
        ? open.filter((job) => job.startedAt !== undefined || first)
        : first
        ? open
        : [];
      if (!script.prepared.isAsync && open.length > 0) first = false;
      for (const job of open) (!culprit && begun.includes(job) ? suspects : others).push(job);
    }
    this.#batches.clear();
    for (const job of [...suspects, ...others]) job.again();
    this.owner.lost({ culprit, suspects, others, memory: outOfMemory || this.#tooBig });
  }

  #results(id: number, from: number, results: readonly unknown[]): void {
    const batch = this.#batches.get(id);
    if (!batch) return;
    results.forEach((result, i) => this.#answer(batch, from + i, result));
    this.#settle(id, batch);
  }

  #answer(batch: Batch, index: number, result: unknown): void {
    const job = batch.jobs[index];
    if (!job || job.answered) return;
    batch.left--;
    job.answer(result);
  }

  #item(flow: string, item: readonly unknown[]): void {
    const [kind, first, second, third, ...more] = item;
    if (kind === "p") {
      const script = this.owner.script(Number(first));
      if (script?.source.flow !== flow) return;
      return script.host.print(second === "debug" ? "debug" : "info", String(third));
    }
    const [batchId, index] = kind === "c" ? [second, third] : [first, second];
    const batch = this.#batches.get(Number(batchId));
    const job = batch?.jobs[Number(index)];
    // A context may only speak for its own flow.
    if (!batch || !job || batch.script.source.flow !== flow) return;
    if (kind === "r") {
      this.#answer(batch, Number(index), third);
      this.#settle(Number(batchId), batch);
    } else if (kind === "c" && OPS.has(more[0] as HostOp) && Array.isArray(more[1])) {
      void job.ask(Number(first), more[0] as HostOp, more[1]).then(({ ok, text }) => {
        if (this.#gone) return;
        const head = ["reply", encodeURIComponent(flow), first, ok ? 1 : 0, batchId, index];
        this.#child!.send(head.join(" "), text);
      });
    }
  }

  #settle(id: number, batch: Batch): void {
    if (batch.left > 0) return;
    this.#batches.delete(id);
    if (this.#batches.size === 0) {
      this.idleSince = this.clock.monotonic();
      if (this.#retired) this.#end();
    }
    this.owner.free();
  }

  #refused(id: number, result: unknown): void {
    for (const [batchId, batch] of this.#batches) {
      if (batch.script.id !== id) continue;
      batch.jobs.forEach((_, index) => this.#answer(batch, index, result));
      this.#settle(batchId, batch);
    }
  }

  #install(script: CagedScript): string {
    const { flow } = script.source;
    const name = encodeURIComponent(flow);
    const before = this.#flows.get(flow);
    if (before && before.installs >= MOST_INSTALLS && !this.#busy().has(flow)) {
      this.#forgetFlow(flow);
    }
    const context = this.#flows.get(flow) ?? { scripts: new Set(), installs: 0 };
    this.#flows.delete(flow);
    this.#flows.set(flow, context);
    if (this.#flows.size > MOST_CONTEXTS) this.#forgetOldest();
    if (!context.scripts.has(script.id)) {
      context.scripts.add(script.id);
      context.installs++;
      const { prepared, id, host, output } = script;
      const { isAsync, usesMeta, writes, exotic } = prepared;
      const label = `flowgen-script-${id}`;
      const facts = { label, isAsync, usesMeta, writes, exotic, epoch: host.epoch, output };
      const body = `${JSON.stringify(facts)}\n${wrapBody(prepared.body, isAsync)}`;
      this.#child!.send(`install ${name} ${id} ${isAsync ? "async" : "sync"}`, body);
    }
    return name;
  }

  #forgetOldest(): void {
    const busy = this.#busy();
    const newest = [...this.#flows.keys()].at(-1);
    for (const flow of this.#flows.keys()) {
      if (busy.has(flow) || flow === newest) continue;
      return this.#forgetFlow(flow);
    }
  }

  /** Flows with events under way. */
  #busy(): Set<string> {
    return new Set([...this.#batches.values()].map(({ script }) => script.source.flow));
  }

  #forgetFlow(flow: string): void {
    this.#flows.delete(flow);
    this.#child!.send(`forget-flow ${encodeURIComponent(flow)}`);
  }

  #end(): void {
    this.#gone = true;
    this.#child?.kill();
  }

  #sign(): void {
    this.#lastSign = this.clock.monotonic();
  }
}

const OPS: ReadonlySet<HostOp> = new Set([
  "get",
  "put",
  "create",
  "increment",
  "delete",
  "list_keys",
  "resource",
]);
