/** The same faults as in the model of the protocol, under the code that really runs. */
import type { Clock, Timer } from "../../core/clock.ts";
import { FlowError } from "../../core/errors.ts";
import { silentLog } from "../../core/log.ts";
import { type Random, seededRandom } from "../../core/random.ts";
import type { Candidacy, Candidate, Term } from "../../flow/cluster.ts";
import type { Store } from "../../flow/store.ts";
import { MemoryStore } from "../../store/memory.ts";
import { type ClusterNode, joinCluster } from "../join.ts";
import { Agenda } from "./agenda.ts";
import { LEASE, RENEW, WALL } from "./slot.ts";

const COUNT = Number(Deno.env.get("MODEL_SCHEDULES") ?? 100_000) / 100;
const SEED = Number(Deno.env.get("MODEL_SEED") ?? 0) * 1_000_000_000;
const FLOWS = ["f", "g", "h"];
const TROUBLED = 20_000;
const HEALED = 100_000;

/** A process: its clock, its way to the store, and what goes wrong with them. */
class Process implements Clock {
  pausedUntil = 0;
  dead = false;
  cut = false;
  deaf = false;
  blind = false;
  slow = 0;
  wallOffset = 0;
  node: ClusterNode | null = null;
  readonly runners: Runner[] = [];
  readonly candidacies: Candidacy[] = [];

  constructor(readonly stage: Stage, readonly name: string) {}

  now(): number {
    return WALL + this.stage.agenda.now + this.wallOffset;
  }

  monotonic(): number {
    return this.stage.agenda.now;
  }

  after(ms: number, run: () => void): Timer {
    const { agenda } = this.stage;
    let cleared = false;
    const fire = () => {
      if (cleared || this.dead) return;
      if (this.pausedUntil > agenda.now) agenda.after(this.pausedUntil - agenda.now, fire);
      else run();
    };
    agenda.after(ms, fire);
    return { clear: () => void (cleared = true) };
  }

  /** The shared store as this process reaches it. */
  store(): Store {
    const { shared, random } = this.stage;
    const way = () => {
      const longest = this.slow > 0 && random.next() < 0.3 ? this.slow : 20;
      return new Promise<void>((done) =>
        this.stage.agenda.after(1 + random.next() * longest, done)
      );
    };
    const back = (ms: number) => new Promise<void>((done) => this.after(ms, done));
    const ask = async <T>(run: () => Promise<T>): Promise<T> => {
      const lost = this.cut;
      await way();
      const answer = lost ? undefined : await run();
      await way();
      await back(0);
      if (lost || this.deaf) throw new FlowError("store.unavailable", "No answer");
      return answer!;
    };
    return {
      get: (key) => ask(() => shared.get(key)),
      put: (key, value, expiry) => ask(() => shared.put(key, value, expiry)),
      create: (key, value, expiry) => ask(() => shared.create(key, value, expiry)),
      update: (key, value, seen, expiry) => ask(() => shared.update(key, value, seen, expiry)),
      delete: (key, seen) => ask(() => shared.delete(key, seen)),
      async *list(prefix) {
        yield* await ask(() => Array.fromAsync(shared.list(prefix)));
      },
      watch: (prefix, signal) => this.#watch(prefix, signal, way),
      [Symbol.asyncDispose]: () => Promise.resolve(),
    };
  }

  async *#watch(prefix: readonly string[], signal: AbortSignal, way: () => Promise<void>) {
    for await (const key of this.stage.shared.watch(prefix, signal)) {
      await way();
      if (this.dead) return;
      if (!this.blind && !this.cut) yield key;
    }
  }
}

class Runner implements Candidate {
  term: Term | null = null;
  busy = false;

  constructor(readonly process: Process, readonly flow: string) {}

  start(term: Term): void {
    if (this.term || this.busy) throw new Error(`${this.flow} is started twice`);
    this.term = term;
  }

  async drain(): Promise<void> {
    await this.#end();
    this.term = null;
  }

  async lose(): Promise<void> {
    if (this.term?.mayRun()) throw new Error(`${this.flow} may run although it is lost`);
    this.term = null;
    await this.#end();
  }

  /** Deliveries end, each in its own time. */
  async #end(): Promise<void> {
    if (this.busy) throw new Error(`${this.flow} is ended twice`);
    this.busy = true;
    const { stage } = this.process;
    await new Promise<void>((done) => this.process.after(stage.random.next() * 2_000, done));
    this.busy = false;
  }
}

class Stage {
  readonly agenda = new Agenda();
  readonly shared: MemoryStore;
  readonly random: Random;
  readonly processes: Process[] = [];
  readonly journal = new Map<string, { epoch: number; by: Process }>();
  readonly trace: string[] = [];
  readonly faults: unknown[] = [];
  #ids = 0;

  constructor(seed: number) {
    this.random = seededRandom(seed);
    this.shared = new MemoryStore({ clock: { now: () => WALL + this.agenda.now } as Clock });
  }

  pick(below: number): number {
    return Math.floor(this.random.next() * below);
  }

  note(process: Process, what: string): void {
    this.trace.push(`${this.agenda.now.toFixed(0).padStart(6)} ${process.name} ${what}`);
  }

  boot(at: number, name: string): void {
    const process = new Process(this, name);
    this.processes[at] = process;
    this.note(process, "boots");
    const log = {
      ...silentLog,
      error: (message: string, fields = {}) => this.fault(message, fields),
    };
    this.guard(async () => {
      const node = await joinCluster({
        store: process.store(),
        clock: process,
        random: this.random,
        log,
        version: "",
        host: "",
        lease: LEASE,
        renew: RENEW,
        newId: () => `${name}${this.#ids++}`,
      });
      process.node = node;
      for (const flow of FLOWS) {
        const runner = new Runner(process, flow);
        process.runners.push(runner);
        process.candidacies.push(node.stand(flow, runner));
      }
    });
  }

  fault(...what: unknown[]): void {
    this.faults.push(what);
  }

  guard(run: () => Promise<void>): void {
    run().catch((error) => this.fault(error));
  }

  trouble(): void {
    const at = this.pick(3);
    const process = this.processes[at]!;
    const length = 500 + this.pick(12_000);
    const kind = KINDS[this.pick(KINDS.length)]!;
    const undo = (run: () => void) => this.agenda.after(length, run);
    this.note(process, `${kind} for ${length}`);
    switch (kind) {
      case "pause":
        process.pausedUntil = this.agenda.now + length;
        break;
      case "cut":
        process.cut = process.deaf = true;
        undo(() => process.cut = process.deaf = false);
        break;
      case "deaf":
        process.deaf = true;
        undo(() => process.deaf = false);
        break;
      case "blind":
        process.blind = true;
        undo(() => process.blind = false);
        break;
      case "slow":
        process.slow = length;
        undo(() => process.slow = 0);
        break;
      case "step":
        process.wallOffset += this.pick(120_000) - 60_000;
        break;
      case "kill":
        process.dead = true;
        undo(() => this.processes[at] === process && this.boot(at, process.name));
        break;
      case "exit":
        this.guard(async () => {
          for (const runner of process.runners) runner.term = null;
          await Promise.all(process.candidacies.splice(0).map((one) => one.withdraw()));
          await process.node?.leave();
          process.dead = true;
          undo(() => this.processes[at] === process && this.boot(at, process.name));
        });
        break;
    }
  }

  /** Every flow that thinks it may run starts an attempt. */
  attempt(): void {
    for (const process of this.processes) {
      if (process.dead || process.pausedUntil > this.agenda.now) continue;
      for (const { term, flow } of process.runners) {
        if (!term?.mayRun()) continue;
        const last = this.journal.get(flow);
        if (
          last && (last.epoch > term.epoch || (last.epoch === term.epoch && last.by !== process))
        ) {
          this.fault(`${process.name} runs ${flow} under ${term.epoch} after ${last.epoch}`);
        }
        if (last?.epoch !== term.epoch) {
          this.note(process, `runs ${flow} under ${term.epoch - WALL}`);
          this.journal.set(flow, { epoch: term.epoch, by: process });
        }
      }
    }
  }

  async runUntil(end: number): Promise<void> {
    while (this.agenda.step(end)) {
      // As many turns of the microtask queue as the longest chain of answers takes.
      for (let i = 0; i < 20; i++) await null;
      this.attempt();
      if (this.faults.length > 0) return;
    }
  }

  running(flow: string): number {
    return this.processes.filter((process) =>
      !process.dead && process.runners.some((one) => one.flow === flow && one.term?.mayRun())
    ).length;
  }
}

const KINDS = ["pause", "cut", "deaf", "blind", "slow", "step", "kill", "exit"] as const;

async function runSchedule(seed: number): Promise<void> {
  const stage = new Stage(seed);
  for (let at = 0; at < 3; at++) stage.boot(at, "abc"[at]!);
  const count = 1 + stage.pick(5);
  for (let i = 0; i < count; i++) stage.agenda.after(stage.pick(TROUBLED), () => stage.trouble());
  const live = seed % 10 === 0;
  await stage.runUntil(live ? HEALED : TROUBLED);
  if (live) {
    for (const flow of FLOWS) {
      if (stage.running(flow) !== 1) stage.fault(`${flow} is run by ${stage.running(flow)}`);
    }
  }
  if (stage.faults.length === 0) return;
  const trace = stage.trace.slice(-80).join("\n");
  throw new Error(`Schedule ${seed}: ${Deno.inspect(stage.faults[0])}\n${trace}`);
}

Deno.test("the driver keeps the promises of the protocol, whatever goes wrong", async () => {
  for (let i = 0; i < COUNT; i++) await runSchedule(SEED + i);
});
