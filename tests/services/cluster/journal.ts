/**
 * What the runtimes of a test started, as they told it themselves, and whether two of them ran a flow
 * at once.
 *
 * Times are those of one clock of the machine, which no step of the wall clock moves: each process
 * stamps an attempt with its own `performance.now()` when it starts, so that one that is stopped before
 * it could tell is not taken for late; how far that clock is from the journal's is the least difference
 * between sending and hearing that was ever seen of the process.
 */
import assert from "node:assert/strict";
import { join } from "node:path";
import { until } from "../nats/server.ts";
import { linesOf, type Word } from "./journal_tasks.ts";

export interface Attempt extends Word {
  /** When the journal heard of it, by its own `performance.now()`. */
  readonly heard: number;
}

/** All that one node started of one flow under one epoch. */
interface Run {
  readonly flow: string;
  readonly node: string;
  readonly epoch: number;
  readonly pid: number;
  first: number;
  last: number;
  attempts: number;
  /** What its writes made of the flow's state, those that were told done. */
  counts: { low: number; high: number } | null;
}

/** An attempt that waits until the test lets it go on. */
export interface HeldBack {
  readonly attempt: Attempt;
  release(): void;
}

/** Milliseconds by which two processes' clocks may be misjudged; nodes keep hundreds between them. */
const CLOCK_ERROR = 5;

export class Journal implements AsyncDisposable {
  readonly #runs = new Map<string, Run[]>();
  readonly #offsets = new Map<number, number>();
  readonly #latest = new Map<string, Attempt>();
  readonly #connections = new Set<Deno.Conn>();
  readonly #serving: Promise<void>;
  /** How to say something to a process. */
  readonly #tell = new Map<number, (line: string) => void>();
  readonly #waiting = new Set<(attempt: Attempt) => void>();
  readonly #holding = new Set<(attempt: Attempt, release: () => void) => boolean>();
  /** The longest time between two attempts, by flow, since it was last asked to measure. */
  readonly #gaps = new Map<string, number>();
  /** What attempts came to: how often `done`, and each code. */
  readonly outcomes = new Map<string, number>();

  private constructor(readonly folder: string, readonly listener: Deno.Listener) {
    this.#serving = this.#serve();
  }

  static async open(): Promise<Journal> {
    const folder = await Deno.makeTempDir({ prefix: "flowgen-journal-" });
    const listener = Deno.listen({ transport: "unix", path: join(folder, "sock") });
    return new Journal(folder, listener as unknown as Deno.Listener);
  }

  get socket(): string {
    return join(this.folder, "sock");
  }

  /** The next attempt that starts from now on and fits. */
  async next(fits: (attempt: Attempt) => boolean, limit: number, what: string): Promise<Attempt> {
    let found: Attempt | undefined;
    const look = (attempt: Attempt) => void (!found && fits(attempt) && (found = attempt));
    this.#waiting.add(look);
    try {
      await until(() => found !== undefined, limit, what);
      return found!;
    } catch (cause) {
      throw new Error(`${what}\n${this.print()}`, { cause });
    } finally {
      this.#waiting.delete(look);
    }
  }

  /** Keeps the next word that fits without an answer, so that its attempt waits. */
  async hold(fits: (attempt: Attempt) => boolean, limit: number): Promise<HeldBack> {
    let found: HeldBack | undefined;
    const look = (attempt: Attempt, release: () => void) => {
      if (found || !fits(attempt)) return false;
      found = { attempt, release };
      return true;
    };
    this.#holding.add(look);
    try {
      await until(() => found !== undefined, limit, "no attempt to hold back");
      return found!;
    } finally {
      this.#holding.delete(look);
    }
  }

  /** Steps the wall clock of a process that has told something already. */
  stepClock(pid: number, ms: number): void {
    this.#tell.get(pid)!(`step ${ms}`);
  }

  /** From now on, how long flows stand still at most; `gap` tells. */
  measureGaps(): void {
    this.#gaps.clear();
  }

  /** Milliseconds that this flow, or any, stood still at most. */
  gap(flow?: string): number {
    return flow === undefined ? Math.max(0, ...this.#gaps.values()) : this.#gaps.get(flow) ?? 0;
  }

  /** The last attempt of a flow that was heard of. */
  latest(flow: string): Attempt | undefined {
    return this.#latest.get(flow);
  }

  /** Attempts that started. */
  get total(): number {
    return [...this.#runs.values()].flat().reduce((sum, { attempts }) => sum + attempts, 0);
  }

  /** Flows that some attempt was heard of. */
  get flows(): string[] {
    return [...this.#runs.keys()];
  }

  /** When an attempt started, on the journal's clock. */
  startOf({ pid, at }: Pick<Attempt, "pid" | "at">): number {
    return at + this.#offsets.get(pid)!;
  }

  /** Fails, with the journal printed, where two nodes ran a flow at once or an epoch went back. */
  check(): void {
    for (const [flow, runs] of this.#runs) {
      const sorted = runs.toSorted((a, b) => this.#first(a) - this.#first(b));
      for (const [i, run] of sorted.entries()) {
        const before = sorted[i - 1];
        if (!before) continue;
        if (this.#first(run) < this.#last(before) - CLOCK_ERROR) {
          assert.fail(`Two ran ${flow} at once\n${this.print(flow)}`);
        }
        if (run.epoch <= before.epoch) {
          assert.fail(`An epoch of ${flow} went back\n${this.print(flow)}`);
        }
      }
      this.#checkCounts(flow, sorted);
    }
  }

  /** One line for each run, in the order of their starts. */
  print(flow?: string): string {
    const runs = flow === undefined ? [...this.#runs.values()].flat() : this.#runs.get(flow) ?? [];
    return runs.toSorted((a, b) => this.#first(a) - this.#first(b)).map((run) =>
      `${run.flow} epoch ${run.epoch} node ${run.node.slice(-8)} pid ${run.pid}: ` +
      `${this.#first(run).toFixed(1)} to ${this.#last(run).toFixed(1)}, ${run.attempts} attempts` +
      (run.counts ? `, counted ${run.counts.low} to ${run.counts.high}` : "")
    ).join("\n");
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.listener.close();
    for (const connection of this.#connections) closed(connection);
    await this.#serving;
    await Deno.remove(this.folder, { recursive: true });
  }

  /** A write that was told done is never undone: who comes later counts on from there. */
  #checkCounts(flow: string, runs: readonly Run[]): void {
    let highest = 0;
    for (const { counts } of runs) {
      if (!counts) continue;
      const { low, high } = counts;
      if (low <= highest) assert.fail(`A write of ${flow} was undone\n${this.print(flow)}`);
      highest = high;
    }
  }

  #first(run: Run): number {
    return run.first + this.#offsets.get(run.pid)!;
  }

  #last(run: Run): number {
    return run.last + this.#offsets.get(run.pid)!;
  }

  async #serve(): Promise<void> {
    const talks: Promise<void>[] = [];
    try {
      for await (const connection of this.listener) {
        this.#connections.add(connection);
        talks.push(this.#talk(connection));
      }
    } catch (cause) {
      if (!(cause instanceof Deno.errors.BadResource)) throw cause;
    }
    await Promise.all(talks);
  }

  async #talk(connection: Deno.Conn): Promise<void> {
    const writer = connection.writable.getWriter();
    const tell = (line: string) =>
      void writer.write(new TextEncoder().encode(`${line}\n`)).catch(() => {});
    const answer = ({ attempt, kind }: Word) => tell(`${attempt} ${kind}`);
    try {
      for await (const line of linesOf(connection.readable)) {
        const attempt: Attempt = { ...JSON.parse(line), heard: performance.now() };
        this.#take(attempt);
        this.#tell.set(attempt.pid, tell);
        const held = [...this.#holding].some((hold) => hold(attempt, () => answer(attempt)));
        if (!held) answer(attempt);
      }
    } catch {
      // The process was killed, or the test is over.
    } finally {
      this.#connections.delete(connection);
      closed(connection);
    }
  }

  #take(attempt: Attempt): void {
    const { pid, sent, heard, kind, flow, at } = attempt;
    this.#offsets.set(pid, Math.min(heard - sent, this.#offsets.get(pid) ?? Infinity));
    const run = this.#runOf(attempt);
    if (kind === "start") {
      run.first = Math.min(run.first, at);
      run.last = Math.max(run.last, at);
      run.attempts++;
      const before = this.#latest.get(flow);
      if (before) this.#gaps.set(flow, Math.max(this.#gaps.get(flow) ?? 0, heard - before.heard));
      this.#latest.set(flow, attempt);
      for (const look of this.#waiting) look(attempt);
    } else if (kind === "end") {
      const { outcome = "", count } = attempt;
      this.outcomes.set(outcome, (this.outcomes.get(outcome) ?? 0) + 1);
      if (count === undefined) return;
      run.counts ??= { low: count, high: count };
      run.counts.high = Math.max(run.counts.high, count);
    }
  }

  #runOf({ flow, node, epoch, pid, at }: Attempt): Run {
    const runs = this.#runs.get(flow) ?? [];
    this.#runs.set(flow, runs);
    let run = runs.find((one) => one.pid === pid && one.node === node && one.epoch === epoch);
    if (!run) {
      run = { flow, node, epoch, pid, first: at, last: at, attempts: 0, counts: null };
      runs.push(run);
    }
    return run;
  }
}

function closed(connection: Deno.Conn): void {
  try {
    connection.close();
  } catch {
    // It was closed by its stream.
  }
}
