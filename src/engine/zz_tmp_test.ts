import assert from "node:assert/strict";
import fc from "fast-check";
import { sleep, TestClock, type Timer } from "../core/clock.ts";
import { FlowError, FlowErrors } from "../core/errors.ts";
import { type Log, silentLog } from "../core/log.ts";
import { seededRandom } from "../core/random.ts";
import type { FlowEvent } from "../flow/event.ts";
import type { TaskEntry, When } from "../flow/flow.ts";
import {
  type AsyncRun,
  type Collector,
  type CollectorOutput,
  type Held,
  Many,
  type Outcome,
  type Output,
  type SyncRun,
  Tracked,
} from "../flow/task.ts";
import { testEvent } from "../flow/testing.ts";
import type { FlowRun } from "./flow_run.ts";
import type { Node } from "./graph.ts";
import { entry, HandSource, startFlow, sync, waits } from "./testing.ts";

// Random flows, run on a test clock and compared with an oracle that knows what every task does with
// every event. What a task does depends on the event's lineage only, never on time, so that the oracle
// needs to see no more of a run than which events left a collector together.

const SEED = 201;
const RUNS = 15_000;
const RETRY = { max_attempts: 3, initial_backoff: 10, max_backoff: 50 };

interface SourceSpec {
  kind: "plain" | "ordered" | "request";
  /** Emits the next event from the settled callback of an earlier one. */
  reenters: boolean;
  count: number;
  window: number;
  windowBytes: number;
  ackTimeout: number | undefined;
  gap: number;
}

interface TaskSpec {
  mode: "sync" | "async" | "collect";
  when: When;
  /** Picks among the earlier tasks; `null` leaves `depends_on` out. */
  parents: number[] | null;
  concurrency: number;
  ordered: boolean;
  size: number;
  timeout: number;
  completes: boolean;
}

interface FlowSpec {
  salt: number;
  sources: SourceSpec[];
  tasks: TaskSpec[];
  secondSourceAt: number;
  retries: boolean;
  stop: { at: number; deadline: number } | null;
}

const sourceSpec: fc.Arbitrary<SourceSpec> = fc.record({
  kind: fc.constantFrom("plain", "ordered", "request"),
  reenters: fc.nat(3).map((n) => n === 0),
  count: fc.integer({ min: 1, max: 12 }),
  window: fc.constantFrom(1, 2, 3, 5, 1_024),
  windowBytes: fc.constantFrom(10, 1_000_000),
  ackTimeout: fc.option(fc.integer({ min: 10, max: 120 }), { nil: undefined }),
  gap: fc.constantFrom(0, 0, 1, 7),
});

const taskSpec: fc.Arbitrary<TaskSpec> = fc.record({
  mode: fc.constantFrom("sync", "sync", "async", "async", "async", "collect"),
  when: fc.constantFrom<When[]>("success", "success", "success", "success", "error", "always"),
  parents: fc.option(fc.array(fc.nat(20), { minLength: 1, maxLength: 2 })),
  concurrency: fc.integer({ min: 1, max: 4 }),
  ordered: fc.boolean(),
  size: fc.integer({ min: 1, max: 5 }),
  timeout: fc.integer({ min: 1, max: 60 }),
  completes: fc.boolean(),
});

const flowSpec: fc.Arbitrary<FlowSpec> = fc.record({
  salt: fc.nat(),
  sources: fc.array(sourceSpec, { minLength: 1, maxLength: 2 }),
  tasks: fc.array(taskSpec, { minLength: 1, maxLength: 10 }),
  secondSourceAt: fc.nat(10),
  retries: fc.boolean(),
  stop: fc.option(fc.record({
    at: fc.integer({ min: 0, max: 150 }),
    deadline: fc.constantFrom(0, 5, 40, 10_000),
  })),
});

/** Where an event comes from: the tasks it passed, and its place among its siblings at each. */
interface Lineage {
  /** Deliveries that it is work of. */
  ids: readonly number[];
  group: string;
  order: readonly number[];
  expansions: number;
  /** What a failing task got, which the next handler is given too. */
  raw?: Lineage;
}

/** A handler gets the event as the failing task got it, on a way of its own. */
function lineageOf({ data, error }: FlowEvent): Lineage {
  const lineage = data as unknown as Lineage;
  return error ? failed(lineage, error.task) : lineage;
}

function failed(lineage: Lineage, task: string): Lineage {
  const raw = lineage.raw ?? lineage;
  return { ...raw, raw, group: `${raw.group}!${task}` };
}

const keyOf = ({ group, order }: Lineage) => `${group}@${order.join(".")}`;

function child(parent: Lineage, task: string, index = 0, expands = false): Lineage {
  return {
    ids: parent.ids,
    group: `${parent.group}>${task}`,
    order: [...parent.order, index],
    expansions: parent.expansions + (expands ? 1 : 0),
  };
}

function withLineage(event: FlowEvent, lineage: Lineage): FlowEvent {
  return { ...event, data: lineage as unknown as FlowEvent["data"], error: undefined };
}

type Act =
  | { kind: "pass" | "track" | "drop" | "fail" }
  /** `fails` after the last one. `twice`: a sync task that emits without `expand`. */
  | { kind: "many"; count: number; fails: boolean; twice?: boolean; waits?: boolean }
  /** Fails so many times before it passes. */
  | { kind: "flaky"; failures: number };

interface Choice {
  act: Act;
  /** How an async task answers: without a promise, after so many microtasks, or after so long. */
  answer: { kind: "now" } | { kind: "ticks"; ticks: number } | { kind: "sleep"; ms: number };
  /** Whether it stops when its delivery expires. */
  heeds: boolean;
}

function hash(text: string): number {
  let value = 2_166_136_261;
  for (let i = 0; i < text.length; i++) value = Math.imul(value ^ text.charCodeAt(i), 16_777_619);
  return value >>> 0;
}

/** One run of one random flow. */
class World {
  readonly clock = new TestClock();
  readonly start = this.clock.now();
  readonly wrong: string[] = [];
  readonly emitted = new Map<number, { at: number; source: number }>();
  readonly outcomes = new Map<number, Outcome>();
  readonly #expired = new Set<number>();
  readonly #atWork = new Map<number, number>();
  readonly #running = new Map<string, number>();
  readonly #last = new Map<string, readonly number[]>();
  readonly tracked: { task: string; lineage: Lineage; outcome?: Outcome }[] = [];
  /** The batch that an event left in, by collector and event. */
  readonly batches = new Map<string, Lineage[]>();
  readonly held = new Map<string, Set<Held>>();
  readonly #specOf = new Map<string, TaskSpec>();
  readonly hands: HandSource[];
  readonly tasks: TaskEntry[] = [];

  constructor(readonly spec: FlowSpec) {
    this.hands = spec.sources.map(({ kind, window }) =>
      new HandSource({ window, ordered: kind === "ordered", request: kind === "request" })
    );
    this.#addSource(0);
    spec.tasks.forEach((task, index) => {
      if (index === spec.secondSourceAt % spec.tasks.length && spec.sources.length > 1) {
        this.#addSource(1);
      }
      this.#addTask(task, index);
    });
  }

  get log(): Log {
    const log: Log = {
      ...silentLog,
      error: (message, fields) => this.wrong.push(`${message} ${fields?.code} ${fields?.stack}`),
      with: () => log,
    };
    return log;
  }

  #addSource(index: number): void {
    const { windowBytes, ackTimeout } = this.spec.sources[index]!;
    this.tasks.push(this.hands[index]!.task(`in${index}`, {
      dependsOn: [],
      ackTimeout,
      maxInFlightBytes: windowBytes,
    }));
  }

  #addTask(spec: TaskSpec, index: number): void {
    const name = `t${index}`;
    this.#specOf.set(name, spec);
    let { when } = spec;
    const isSource = (one: TaskEntry) => one.definition.mode === "source";
    let parents = spec.parents?.map((pick) => this.tasks[pick % this.tasks.length]!);
    if (when === "error") {
      parents = parents?.filter((one) => !isSource(one));
      if (!this.tasks.some((one) => !isSource(one) && one.when !== "error")) when = "success";
      else if (parents?.length === 0) {
        parents = this.tasks.filter((one) => !isSource(one)).slice(-1);
      }
    }
    const options = {
      when,
      dependsOn: parents?.length ? [...new Set(parents.map((one) => one.name))] : undefined,
      ordered: spec.ordered,
      concurrency: spec.concurrency,
      retry: RETRY,
    };
    if (spec.mode === "sync") this.tasks.push(sync(name, this.#sync(name), options));
    else if (spec.mode === "async") this.tasks.push(waits(name, this.#async(name), options));
    else {
      this.tasks.push(entry(name, {
        type: "collects",
        mode: "collect",
        summary: "",
        config: {} as never,
        examples: [],
        holds: () => 1, // not the truth, so that requests may expire there
        create: ({ output }) => this.#collect(name, spec, output),
      }, options));
    }
  }

  /** What a task does with an event. */
  choose(task: string, lineage: Lineage): Choice {
    const random = seededRandom(hash(`${this.spec.salt}|${task}|${keyOf(lineage)}`));
    const roll = Math.floor(random.next() * 100);
    const count = Math.floor(random.next() * 4);
    const many = lineage.expansions < 2;
    const { mode } = this.#specOf.get(task)!;
    let act: Act = { kind: "pass" };
    if (roll < 7) act = { kind: "drop" };
    else if (roll < 15) act = { kind: "fail" };
    else if (roll < 18 && many) act = { kind: "many", count, fails: true };
    else if (roll < 26 && many) act = { kind: "many", count, fails: false };
    else if (roll < 30 && many) act = { kind: "many", count, fails: count > 1, twice: true };
    else if (roll < 36 && many) act = { kind: "many", count, fails: false, waits: true };
    else if (roll < 39 && many) act = { kind: "many", count, fails: true, waits: true };
    else if (roll < 50 && mode === "async") act = { kind: "track" };
    else if (roll < 60 && mode === "async" && this.spec.retries) {
      act = { kind: "flaky", failures: 1 + count };
    }
    const how = random.next();
    const answer: Choice["answer"] = how < 0.3
      ? { kind: "now" }
      : how < 0.7
      ? { kind: "ticks", ticks: Math.floor(random.next() * 6) }
      : { kind: "sleep", ms: Math.floor(random.next() * 30) };
    return { act, answer, heeds: random.next() < 0.5 };
  }

  /** A task begins with an event. */
  #begin(task: string, lineage: Lineage, attempt = 1): void {
    const { ids, group, order } = lineage;
    for (const id of ids) {
      if (this.outcomes.has(id) && !this.#expired.has(id)) {
        this.wrong.push(`${task} works for ${id}, which was settled`);
      }
    }
    if (ids.every((id) => this.#expired.has(id))) {
      this.wrong.push(`${task} begins with ${keyOf(lineage)}, which has expired`);
    }
    // What a handler fails may have come to it in several ways, which look the same from here on.
    const handler = this.tasks.find(({ name }) => name === /!(\w+)/.exec(group)?.[1]);
    if (attempt > 1 || (handler && handler.when !== "success")) return;
    this.#inOrder(`${task}|${group}|${order[0]}`, order);
    if (this.#keepsOrder(group)) this.#inOrder(`${task}|${group}`, order);
  }

  /** Whether events of different deliveries that took this way keep their order. */
  #keepsOrder(group: string): boolean {
    if (this.spec.retries) return false;
    const source = /^in(\d)/.exec(group);
    if (!source) return true; // batches
    const { kind, reenters } = this.spec.sources[Number(source[1])]!;
    return kind === "ordered" && !reenters;
  }

  #inOrder(where: string, order: readonly number[]): void {
    const last = this.#last.get(where);
    this.#last.set(where, order);
    if (!last) return;
    const at = order.findIndex((one, index) => one !== last[index]);
    if (at >= 0 && order[at]! < last[at]!) {
      this.wrong.push(`${where}: ${order.join(".")} after ${last.join(".")}`);
    }
  }

  #work(ids: readonly number[], change: 1 | -1): void {
    for (const id of ids) this.#atWork.set(id, (this.#atWork.get(id) ?? 0) + change);
  }

  #sync(name: string): SyncRun {
    return (event, emit, call) => {
      const lineage = lineageOf(event);
      this.#begin(name, lineage);
      const { act } = this.choose(name, lineage);
      if (act.kind === "fail") throw new FlowError("event.invalid", name);
      if (act.kind === "pass") emit(withLineage(event, child(lineage, name)));
      if (act.kind !== "many") return;
      const { count, fails, twice } = act;
      if (!twice) return call.expand(this.#expansion(event, name, count, fails));
      for (const one of this.#expansion(event, name, count, fails)) emit(one);
    };
  }

  *#expansion(event: FlowEvent, name: string, count: number, fails: boolean) {
    const lineage = lineageOf(event);
    for (let index = 0; index < count; index++) {
      yield withLineage(event, child(lineage, name, index, true));
    }
    if (fails) throw new FlowError("event.invalid", `${name} after ${count}`);
  }

  async *#slowExpansion(event: FlowEvent, name: string, count: number, fails: boolean) {
    const { ids } = lineageOf(event);
    this.#work(ids, 1);
    try {
      for (const one of this.#expansion(event, name, count, fails)) {
        await sleep(this.clock, 3);
        yield one;
      }
    } finally {
      this.#work(ids, -1);
    }
  }

  #async(name: string): AsyncRun {
    const { concurrency } = this.#specOf.get(name)!;
    return (event, { attempt, signal }) => {
      const lineage = lineageOf(event);
      this.#begin(name, lineage, attempt);
      const { act, answer, heeds } = this.choose(name, lineage);
      const output = (): Output => {
        if (heeds && signal.aborted) throw signal.reason;
        if (act.kind === "fail") throw new FlowError("event.invalid", name);
        if (act.kind === "flaky" && attempt <= act.failures) {
          throw new FlowError("http.unavailable", name);
        }
        if (act.kind === "drop") return null;
        if (act.kind === "many") {
          const { count, fails, waits } = act;
          return new Many(
            waits
              ? this.#slowExpansion(event, name, count, fails)
              : this.#expansion(event, name, count, fails),
          );
        }
        const next = withLineage(event, child(lineage, name));
        if (act.kind !== "track") return next;
        const tracked: { task: string; lineage: Lineage; outcome?: Outcome } = {
          task: name,
          lineage: lineageOf(next),
        };
        this.tracked.push(tracked);
        return new Tracked(next, (outcome) => {
          if (tracked.outcome) {
            this.wrong.push(`${keyOf(tracked.lineage)} heard of its event twice`);
          }
          tracked.outcome = outcome;
        });
      };
      const running = (this.#running.get(name) ?? 0) + 1;
      this.#running.set(name, running);
      if (running > concurrency) this.wrong.push(`${name} runs ${running} at once`);
      this.#work(lineage.ids, 1);
      const end = () => {
        this.#running.set(name, this.#running.get(name)! - 1);
        this.#work(lineage.ids, -1);
      };
      if (answer.kind === "now") {
        try {
          return output();
        } finally {
          end();
        }
      }
      const waiting = async () => {
        if (answer.kind === "sleep") {
          await sleep(this.clock, answer.ms, heeds ? signal : undefined);
        } else for (let tick = 0; tick < answer.ticks; tick++) await null;
        return output();
      };
      return waiting().finally(end);
    };
  }

  #collect(name: string, spec: TaskSpec, output: CollectorOutput): Collector {
    const held = new Set<Held>();
    this.held.set(name, held);
    let timer: Timer | null = null;
    let count = 0;
    const quiet = () => {
      timer?.clear();
      timer = null;
    };
    const flush = () => {
      quiet();
      if (held.size === 0) return;
      const members = [...held];
      held.clear();
      const lineages = members.map((one) => lineageOf(one.event));
      const batch: Lineage = {
        ids: [...new Set(lineages.flatMap(({ ids }) => ids))],
        group: name,
        order: [count++],
        expansions: Math.max(...lineages.map(({ expansions }) => expansions)),
      };
      for (const one of lineages) {
        const key = `${name}|${keyOf(one)}`;
        this.batches.set(key, [...this.batches.get(key) ?? [], batch]);
      }
      output.emit(withLineage(members[0]!.event, batch), members);
    };
    return {
      add: (one) => {
        const lineage = lineageOf(one.event);
        this.#begin(name, lineage);
        if (this.choose(name, lineage).act.kind === "fail") {
          throw new FlowError("event.invalid", name);
        }
        held.add(one);
        timer ??= this.clock.after(spec.timeout, flush);
        if (held.size >= spec.size) flush();
      },
      drop: (one) => {
        if (!held.delete(one)) this.wrong.push(`${name} drops what it does not hold`);
        if (held.size === 0) quiet();
      },
      flush,
      ...spec.completes && { completed: flush },
    };
  }

  /** Drives a source until it has emitted everything or shall stop. */
  async drive(index: number): Promise<void> {
    const spec = this.spec.sources[index]!;
    const { output } = this.hands[index]!;
    const reenters = spec.reenters && spec.kind !== "request";
    let [next, open, openBytes] = [0, 0, 0];
    const emit = (): void | Promise<void> => {
      const at = next++;
      const id = index * 1_000 + at;
      const bytes = at % 8;
      const lineage = { ids: [id], group: `in${index}`, order: [at], expansions: 0 };
      const event = withLineage(testEvent(null), lineage);
      // A request that is too many is refused; of one that ended we hear a little later.
      if (spec.kind !== "request" && open > 0) {
        if (openBytes >= spec.windowBytes) this.wrong.push(`${id} exceeds the bytes`);
        if (open >= spec.window) this.wrong.push(`${id} exceeds the window`);
      }
      open++;
      openBytes += bytes;
      this.emitted.set(id, { at: this.clock.now(), source: index });
      const settled = (outcome: Outcome) => {
        open--;
        openBytes -= bytes;
        this.#settled(id, outcome);
        const free = openBytes < spec.windowBytes || open === 0;
        if (reenters && next < spec.count && free && !output.signal.aborted) void emit();
      };
      if (spec.kind !== "request") return output.emit(event, settled, { bytes });
      try {
        output.request(event, { bytes }).then((reply) => {
          const failed = reply.kind === "failed" && !reply.handled;
          settled(failed ? { ok: false, cause: reply.cause } : { ok: true });
        });
      } catch (cause) {
        assert.ok(cause instanceof FlowError);
        assert.match(cause.code, /^http\.(window_full|stopping)$/);
        open--;
        openBytes -= bytes;
        this.emitted.delete(id);
        next--;
        return sleep(this.clock, 5);
      }
    };
    while (next < spec.count && !output.signal.aborted) {
      if (reenters && (open >= spec.window || openBytes >= spec.windowBytes)) return;
      const pause = emit();
      // Who emits from callbacks waits for nothing.
      if (pause && !reenters) await pause;
      if (spec.gap > 0) await sleep(this.clock, spec.gap, output.signal);
    }
  }

  #settled(id: number, outcome: Outcome): void {
    if (this.outcomes.has(id)) this.wrong.push(`${id} is settled twice`);
    this.outcomes.set(id, outcome);
    if (!outcome.ok && this.clock.now() >= this.#expiryOf(id)) this.#expired.add(id);
    else {
      if (this.#atWork.get(id)) this.wrong.push(`${id} is settled while tasks work for it`);
      for (const [name, held] of this.held) {
        for (const one of held) {
          if (lineageOf(one.event).ids.includes(id)) this.wrong.push(`${name} still holds ${id}`);
        }
      }
    }
  }

  /** When a delivery expires. It fails with its first cause, which may be an earlier failure. */
  #expiryOf(id: number): number {
    const { at, source } = this.emitted.get(id)!;
    const { ackTimeout, kind } = this.spec.sources[source]!;
    const { stop } = this.spec;
    return Math.min(
      at + (ackTimeout ?? (kind === "request" ? 30_000 : Infinity)),
      stop ? this.start + stop.at + stop.deadline : Infinity,
    );
  }

  /** Everything that can only be said when a run is over. */
  check(run: FlowRun): void {
    const oracle = new Oracle(this, run.graph.nodes);
    for (const [id, { source }] of this.emitted) {
      const outcome = this.outcomes.get(id);
      if (!outcome) {
        this.wrong.push(`${id} was never settled`);
        continue;
      }
      if (this.#expired.has(id)) continue;
      const code = !outcome.ok && outcome.cause instanceof FlowError && outcome.cause.code;
      const lineage = { ids: [id], group: `in${source}`, order: [id % 1_000], expansions: 0 };
      const expected = oracle.afterwards(`in${source}`, lineage);
      if (expected !== outcome.ok) this.wrong.push(`${id} ended as ${outcome.ok}: ${code}`);
    }
    for (const { task, lineage, outcome } of this.tracked) {
      const key = keyOf(lineage);
      if (!outcome) this.wrong.push(`${key} never heard of its event`);
      else if (lineage.ids.every((id) => this.#expired.has(id))) continue;
      else if (outcome.ok !== oracle.afterwards(task, lineage)) {
        this.wrong.push(`${key} heard ${outcome.ok}`);
      }
    }
    for (const [name, held] of this.held) {
      if (held.size > 0) this.wrong.push(`${name} holds ${held.size}`);
    }
    if (run.health().open > 0) this.wrong.push(`${run.health().open} are open at the end`);
    if (this.clock.pending > 0) this.wrong.push(`${this.clock.pending} timers are left`);
  }
}

/** Says how an event ends: `true` when all that comes of it succeeds. */
class Oracle {
  readonly #nodes: Map<string, Node>;

  constructor(readonly world: World, nodes: readonly Node[]) {
    this.#nodes = new Map(nodes.map((node) => [node.task.name, node]));
  }

  /** How an event ends that came out of `task`. */
  afterwards(task: string, lineage: Lineage): boolean {
    return this.#nodes.get(task)!.children.every((node) => this.#through(node, lineage));
  }

  #through(node: Node, lineage: Lineage): boolean {
    const { name } = node.task;
    const { act } = this.world.choose(name, lineage);
    if (node.task.definition.mode === "collect") {
      if (act.kind === "fail") return this.#failed(node, lineage);
      const batches = this.world.batches.get(`${name}|${keyOf(lineage)}`) ?? [];
      return batches.length > 0 && batches.every((batch) => this.afterwards(name, batch));
    }
    const pass = () => this.afterwards(name, child(lineage, name));
    switch (act.kind) {
      case "drop":
        return true;
      case "fail":
        return this.#failed(node, lineage);
      case "pass":
      case "track":
        return pass();
      case "flaky":
        return act.failures < RETRY.max_attempts ? pass() : this.#failed(node, lineage);
      case "many": {
        const all = Array.from(
          { length: act.count },
          (_, index) => this.afterwards(name, child(lineage, name, index, true)),
        );
        return all.every(Boolean) && (!act.fails || this.#failed(node, lineage));
      }
    }
  }

  #failed({ handlers, task }: Node, lineage: Lineage): boolean {
    const event = failed(lineage, task.name);
    return handlers.length > 0 && handlers.every((node) => this.#through(node, event));
  }
}

async function runWorld(spec: FlowSpec): Promise<void> {
  const world = new World(spec);
  const { clock } = world;
  const started = startFlow(world.tasks, { clock, log: world.log });
  const { run } = await started.catch((cause) => {
    // Others may have left a catch-all nothing to serve.
    fc.pre(!(cause instanceof FlowErrors && cause.findings[0]!.code === "flow.handler_unused"));
    throw cause;
  });
  const driving = spec.sources.map((_, index) => world.drive(index));
  let stopped: Promise<unknown> | undefined;
  if (spec.stop) {
    await clock.advance(spec.stop.at);
    stopped = run.stop(spec.stop.deadline);
  } else {
    const isDone = () =>
      spec.sources.every(({ count }, index) =>
        [...world.outcomes.keys()].filter((id) => Math.floor(id / 1_000) === index).length === count
      );
    for (let second = 0; second < 120 && !isDone(); second++) await clock.advance(1_000);
    if (!isDone()) world.wrong.push(`stuck at ${world.outcomes.size} outcomes`);
    stopped = run.stop(60_000);
  }
  await clock.advance(60_000);
  await stopped;
  await Promise.all(driving);
  world.check(run);
  assert.deepEqual(world.wrong, []);
}

Deno.test("every delivery of random flows is accounted for", async () => {
  await fc.assert(fc.asyncProperty(flowSpec, runWorld), { seed: SEED, numRuns: RUNS });
});
