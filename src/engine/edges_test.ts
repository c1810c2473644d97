import assert from "node:assert/strict";
import { settle, systemClock } from "../core/clock.ts";
import { FlowError } from "../core/errors.ts";
import { type Log, silentLog } from "../core/log.ts";
import { derive, type FlowEvent, jsonView } from "../flow/event.ts";
import {
  type Collector,
  type CollectorOutput,
  type Held,
  Many,
  type Outcome,
  Tracked,
} from "../flow/task.ts";
import { testEvent } from "../flow/testing.ts";
import { collects, HandSource, startFlow, sync, waits } from "./testing.ts";

const pass = (name: string, options = {}) => sync(name, (event, emit) => emit(event), options);
const transient = () => new FlowError("http.unavailable", "down");
const data = (events: readonly FlowEvent[]) => events.map((event) => event.data);
const numbers = (event: FlowEvent, count: number) =>
  Array.from({ length: count }, (_, n) => ({ ...event, data: n }));

/** Makes `count` events of one. */
const expands = (count: number, name = "many", options = {}) =>
  sync(name, (event, _, call) => call.expand(numbers(event, count)), options);

/** A leaf that keeps what it gets. */
function keeps(name = "end", options = {}) {
  const got: FlowEvent[] = [];
  return { got, task: sync(name, (event) => void got.push(event), options) };
}

/** Promises that the test settles one by one. */
function gate<T>() {
  const waiting: { event: FlowEvent; resolve: (value: T) => void; reject: (e: unknown) => void }[] =
    [];
  return {
    waiting,
    run: (event: FlowEvent) =>
      new Promise<T>((resolve, reject) => waiting.push({ event, resolve, reject })),
    /** Lets everything through, also what comes later. */
    async open(value: (event: FlowEvent) => T) {
      while (waiting.length > 0) {
        for (const one of waiting.splice(0)) one.resolve(value(one.event));
        await settle(1);
      }
    },
  };
}

/** A batch of every `size` events, or of what is there on flush. */
function batches(name: string, size: number, more: Partial<Collector> = {}, options = {}) {
  let held: Held[] = [];
  return collects(name, (output: CollectorOutput) => {
    const flush = () => {
      const members = held.splice(0);
      if (members.length === 0) return;
      const items = members.map((one) => jsonView(one.event.data));
      output.emit(derive(members[0]!.event, { data: items, subject: name }), members);
    };
    return {
      add(one) {
        held.push(one);
        if (held.length === size) flush();
      },
      drop: (one) => void (held = held.filter((other) => other !== one)),
      flush,
      ...more.completed && { completed: flush },
    };
  }, options);
}

function errorLog() {
  const errors: unknown[] = [];
  const log: Log = {
    ...silentLog,
    error: (message, fields) => void errors.push([message, fields?.code]),
    with: () => log,
  };
  return { log, errors };
}

Deno.test("a source that emits again from its settled callback gets each outcome once", async () => {
  const source = new HandSource({ ordered: true });
  const slow = gate<FlowEvent>();
  const end = keeps();
  const { log, errors } = errorLog();
  const { run } = await startFlow([
    source.task(),
    // 0 to 2 wait, later ones answer at once.
    waits("slow", (event) => (event.data as number) < 3 ? slow.run(event) : event),
    end.task,
  ], { log });
  const outcomes: unknown[] = [];
  let next = 3;
  const emit = (n: number) =>
    source.output.emit(testEvent(n), ({ ok }) => {
      outcomes.push([n, ok]);
      if (next < 10) emit(next++);
    });
  for (const n of [0, 1, 2]) emit(n);
  for (const at of [2, 1, 0]) slow.waiting[at]!.resolve(slow.waiting[at]!.event);
  await settle();
  const all = [...Array(10).keys()];
  assert.deepEqual(data(end.got), all);
  assert.deepEqual(outcomes, all.map((n) => [n, true]));
  assert.deepEqual(errors, []);
  assert.equal(run.health().open, 0);
  await run.stop(0);
});

Deno.test("an event emitted while another is handed on waits for its turn", async () => {
  const source = new HandSource({ ordered: true });
  const [first, second] = [gate<FlowEvent>(), gate<null>()];
  const end: unknown[] = [];
  const { log, errors } = errorLog();
  const { run } = await startFlow([
    source.task(),
    waits("quick", (event) => (event.data as string) === "b" ? first.run(event) : event),
    sync("many", (event, emit, call) => {
      if (event.data === "a") call.expand(numbers(event, 5));
      else emit(event);
    }),
    // Ends the delivery of "probe", whose callback emits "b" while "a" is handed on.
    waits("slow", (event) => {
      if (event.data === 0) probe?.();
      end.push(event.data);
      return second.run(event);
    }, { concurrency: 1 }),
  ], { log });
  let probe: (() => void) | null = () => {
    probe = null;
    source.output.emit(testEvent("b"), () => {});
  };
  let settled = 0;
  source.output.emit(testEvent("a"), () => settled++);
  await settle();
  await first.open((event) => event);
  await second.open(() => null);
  await first.open((event) => event);
  await second.open(() => null);
  assert.deepEqual(end, [0, 1, 2, 3, 4, "b"]);
  assert.equal(settled, 1);
  assert.deepEqual(errors, []);
  assert.equal(run.health().open, 0);
  await run.stop(0);
});

Deno.test("a source that emits again when its delivery expires leaves no timer behind", async () => {
  const source = new HandSource();
  const { run, clock } = await startFlow([
    source.task("in", { ackTimeout: 100 }),
    waits(
      "never",
      (_, { signal }) =>
        new Promise((_, reject) => signal.addEventListener("abort", () => reject(transient()))),
    ),
  ]);
  const outcomes: number[] = [];
  let left = 6;
  const emit = () =>
    source.output.emit(testEvent(1), () => {
      outcomes.push(clock.now());
      if (left-- > 0) emit();
    });
  const start = clock.now();
  emit();
  await clock.advance(50);
  emit();
  await clock.advance(1_000);
  assert.deepEqual(
    outcomes.map((at) => at - start),
    [100, 150, 200, 250, 300, 350, 400, 450],
  );
  assert.equal(run.health().open, 0);
  await run.stop(0);
  assert.equal(clock.pending, 0);
});

Deno.test("a task that follows its events keeps their order inside one delivery", async () => {
  for (const ordered of [false, true]) {
    const source = new HandSource({ ordered });
    const end = keeps();
    const { run, clock } = await startFlow([
      source.task(),
      expands(6),
      waits("follow", (event) => new Tracked(event, () => {})),
      waits("flaky", async (event, call) => {
        await settle(6 - (event.data as number));
        if (event.data === 2 && call.attempt === 1) throw transient();
        return event;
      }),
      end.task,
    ]);
    const outcome = source.output.deliver(testEvent("all"));
    await clock.advance(10_000);
    assert.ok((await outcome).ok);
    assert.deepEqual(data(end.got), [0, 1, 2, 3, 4, 5]);
    await run.stop(0);
  }
});

Deno.test("a task that follows its event hears of it although the delivery expired meanwhile", async () => {
  const source = new HandSource();
  const slow = gate<Tracked>();
  const { run, clock } = await startFlow([
    source.task("in", { ackTimeout: 100 }),
    waits("follow", slow.run),
    pass("end"),
  ]);
  const heard: Outcome[] = [];
  const outcome = source.output.deliver(testEvent(1));
  await clock.advance(100);
  assert.ok(!(await outcome).ok);
  slow.waiting[0]!.resolve(new Tracked(testEvent(1), (one) => heard.push(one)));
  await settle();
  assert.deepEqual(heard.map((one) => !one.ok && (one.cause as FlowError).code), [
    "delivery.timeout",
  ]);
  assert.equal(run.health().open, 0);
  await run.stop(0);
});

Deno.test("a buffer hears that all is there behind a task that follows its events", async () => {
  const source = new HandSource();
  const end = keeps();
  const { run } = await startFlow([
    source.task(),
    expands(3),
    waits("follow", (event) => new Tracked(event, () => {})),
    batches("first", 100, { completed() {} }),
    batches("second", 100, { completed() {} }),
    end.task,
  ]);
  const outcome = source.output.deliver(testEvent("all"));
  await settle();
  assert.deepEqual(data(end.got), [[[0, 1, 2]]]);
  assert.ok((await outcome).ok);
  await run.stop(0);
});

Deno.test("batches leave in order although the first is still being taken", async () => {
  const source = new HandSource();
  const slow = gate<null>();
  const seen: unknown[] = [];
  const { run } = await startFlow([
    source.task(),
    batches("bag", 4),
    sync("maybe", (event, emit, call) => {
      const items = event.data as number[];
      if (items.length === 1) emit({ ...event, data: items[0]! });
      else call.expand(items.map((item) => ({ ...event, data: item })));
    }),
    waits("slow", (event) => {
      seen.push(event.data);
      return slow.run(event);
    }, { concurrency: 1 }),
  ]);
  for (let n = 0; n < 9; n++) source.output.emit(testEvent(n), () => {});
  const stopped = run.stop(1_000);
  await settle();
  await slow.open(() => null);
  assert.equal(await stopped, true);
  assert.deepEqual(seen, [0, 1, 2, 3, 4, 5, 6, 7, 8]);
});

Deno.test("a callback that throws is logged and breaks nothing else", async () => {
  const source = new HandSource();
  const { log, errors } = errorLog();
  const { run } = await startFlow([
    source.task("in", { maxInFlight: 1 }),
    waits("follow", (event) =>
      new Tracked(event, () => {
        throw new Error("follower");
      })),
    waits("slow", async (event) => {
      await settle(1);
      return event;
    }),
  ], { log });
  for (let n = 0; n < 3; n++) {
    await source.output.emit(testEvent(n), () => {
      throw new Error("source");
    });
  }
  assert.equal(run.health().open, 0);
  assert.equal(errors.length, 6);
  await run.stop(0);
});

Deno.test("whatever is thrown fails only its event", async () => {
  const weird: unknown[] = [undefined, null, 0, "text", Symbol("s"), {}, new Proxy({}, {})];
  for (const thrown of weird) {
    const source = new HandSource();
    const handler = keeps("dlq", { when: "error" });
    const { run } = await startFlow([
      source.task(),
      sync("broken", () => {
        throw thrown;
      }),
      handler.task,
    ]);
    let outcome: Outcome | undefined;
    source.output.emit(testEvent(1), (one) => outcome = one);
    assert.deepEqual(outcome, { ok: true });
    assert.equal(handler.got[0]!.error!.code, "task.failed");
    await run.stop(0);
  }
});

Deno.test("an expired expansion is closed", async () => {
  const source = new HandSource();
  const slow = gate<null>();
  let closed = false;
  function* endless(event: FlowEvent) {
    try {
      for (;;) yield event;
    } finally {
      closed = true;
    }
  }
  const { run, clock } = await startFlow([
    source.task("in", { ackTimeout: 100 }),
    sync("many", (event, _, call) => call.expand(endless(event))),
    waits("slow", slow.run, { concurrency: 1 }),
  ]);
  void source.output.deliver(testEvent(1));
  await clock.advance(100);
  assert.ok(closed);
  slow.waiting[0]!.resolve(null);
  await settle();
  assert.equal(run.health().open, 0);
  assert.equal(slow.waiting.length, 1);
  await run.stop(0);
});

Deno.test("a window of one over tasks that never really wait gives the event loop its turns", async () => {
  const source = new HandSource();
  const { run } = await startFlow([
    source.task("in", { maxInFlight: 1 }),
    waits("quick", (event) => Promise.resolve(event)),
  ], { clock: systemClock });
  let turns = 0;
  let over = false;
  const count = () => {
    turns++;
    if (!over) setImmediate(count);
  };
  setImmediate(count);
  // One every 5 ms; where the machine is busy with others it takes longer to see that they come.
  const end = performance.now() + 10_000;
  while (turns <= 5 && performance.now() < end) await source.output.emit(testEvent(1), () => {});
  over = true;
  assert.ok(turns > 5, `${turns} turns`);
  await settle();
  await run.stop(0);
});

Deno.test("what is emitted after the end of a stopped flow fails at once", async () => {
  const source = new HandSource();
  let runs = 0;
  const { run } = await startFlow([source.task(), sync("end", () => void runs++)]);
  await run.stop(0);
  const outcome = await source.output.deliver(testEvent(1));
  assert.equal(!outcome.ok && (outcome.cause as FlowError).code, "delivery.stopped");
  assert.equal(runs, 0);
  assert.equal(run.health().open, 0);
});

Deno.test("a failed event that its source emits again at once does not keep a flow from stopping", async () => {
  const source = new HandSource();
  const slow = gate<null>();
  const { run, clock } = await startFlow([source.task(), waits("slow", slow.run)]);
  let emitted = 0;
  const emit = (): void =>
    void source.output.emit(testEvent(1), ({ ok }) => {
      if (!ok && emitted++ < 50) emit();
    });
  emit();
  const stopped = run.stop(100);
  await clock.advance(100);
  assert.equal(await stopped, false);
  for (const one of slow.waiting) one.resolve(null);
  await settle();
  assert.equal(run.health().open, 0);
});

Deno.test("stop ends retries, parked expansions and what waits for its turn", async () => {
  const source = new HandSource();
  const slow = gate<FlowEvent>();
  const outcomes: Outcome[] = [];
  const { run, clock } = await startFlow([
    source.task(),
    expands(100),
    waits("flaky", (event) => {
      if (event.data === 1) throw transient();
      return event.data === 0 ? slow.run(event) : event;
    }, {
      concurrency: 2,
      retry: { max_attempts: null, initial_backoff: 60_000, max_backoff: 60_000 },
    }),
    pass("end"),
  ]);
  source.output.emit(testEvent(1), (outcome) => outcomes.push(outcome));
  const stopped = run.stop(1_000);
  await clock.advance(1_000);
  assert.equal(await stopped, false);
  assert.deepEqual(outcomes.map((one) => !one.ok && (one.cause as FlowError).code), [
    "delivery.stopped",
  ]);
  slow.waiting[0]!.resolve(slow.waiting[0]!.event);
  await settle();
  assert.equal(run.health().open, 0);
  assert.equal(clock.pending, 0);
});

Deno.test("two stages in a row that are both full hand everything on in order", async () => {
  const source = new HandSource({ ordered: true });
  const [first, second] = [gate<FlowEvent>(), gate<FlowEvent>()];
  const end = keeps();
  const { run } = await startFlow([
    source.task("in", { maxInFlight: 8 }),
    expands(10),
    waits("first", first.run, { concurrency: 1 }),
    waits("follow", (event) => new Tracked(event, () => {}), { concurrency: 1 }),
    waits("second", second.run, { concurrency: 1 }),
    end.task,
  ]);
  const feeding = (async () => {
    for (let n = 0; n < 5; n++) await source.output.emit(testEvent(n), () => {});
  })();
  for (let round = 0; round < 200; round++) {
    // The second stage is far slower than the first.
    for (const one of first.waiting.splice(0)) one.resolve(one.event);
    await settle(1);
    if (round % 3 === 0) { for (const one of second.waiting.splice(0)) one.resolve(one.event); }
    await settle(1);
  }
  await feeding;
  assert.equal(run.health().open, 0);
  assert.deepEqual(data(end.got), Array.from({ length: 50 }, (_, n) => n % 10));
  await run.stop(0);
});

Deno.test("others pass an expansion that is blocked behind a slow consumer", async () => {
  const source = new HandSource();
  const slow = gate<null>();
  let quick = 0;
  const { run } = await startFlow([
    source.task(),
    waits("many", (event) => event.data === "many" ? new Many(numbers(event, 50)) : event, {
      concurrency: 2,
    }),
    sync("split", (event, emit) => event.data === "quick" ? void quick++ : emit(event)),
    waits("slow", slow.run, { concurrency: 1 }),
  ]);
  const outcome = source.output.deliver(testEvent("many"));
  await settle();
  assert.deepEqual(await source.output.deliver(testEvent("quick")), { ok: true });
  assert.equal(quick, 1);
  await slow.open(() => null);
  assert.ok((await outcome).ok);
  await run.stop(0);
});

Deno.test("a collector whose add emits at once settles each event with its own batch", async () => {
  const source = new HandSource();
  const { run } = await startFlow([
    source.task(),
    batches("one", 1),
    sync("end", (event) => {
      if ((event.data as number[])[0] === 2) throw new FlowError("event.invalid", "boom");
    }),
  ]);
  const outcomes: boolean[] = [];
  for (const n of [1, 2, 3]) source.output.emit(testEvent(n), ({ ok }) => outcomes.push(ok));
  assert.deepEqual(outcomes, [true, false, true]);
  await run.stop(0);
});

Deno.test("a hundred thousand events from one pass two async tasks in bounded memory", async () => {
  const source = new HandSource();
  let [count, sum, pulled, most] = [0, 0, 0, 0];
  function* endless(event: FlowEvent) {
    for (let n = 0; n < 100_000; n++) {
      pulled++;
      most = Math.max(most, pulled - count);
      yield { ...event, data: n };
    }
  }
  const { run } = await startFlow([
    source.task(),
    sync("many", (event, _, call) => call.expand(endless(event))),
    waits("first", (event) => Promise.resolve(event)),
    waits("second", (event) => (event.data as number) % 2 ? event : Promise.resolve(event)),
    sync("end", (event) => {
      count++;
      sum += event.data as number;
    }),
  ]);
  assert.ok((await source.output.deliver(testEvent("all"))).ok);
  assert.equal(count, 100_000);
  assert.equal(sum, 4_999_950_000);
  assert.ok(most < 200, `${most} under way at once`);
  await run.stop(0);
});

Deno.test("an array of a hundred thousand passes tasks that answer at once", async () => {
  const source = new HandSource({ request: true });
  const { run } = await startFlow([
    source.task(),
    waits("many", (event) => new Many(numbers(event, 100_000))),
    waits("first", (event) => event),
    waits("second", (event) => event),
  ]);
  const reply = await source.output.request(testEvent("all"));
  assert.ok(reply.kind === "list");
  assert.deepEqual(reply.items, [...Array(100_000).keys()]);
  await run.stop(0);
});

Deno.test("long chains of tasks that answer at once do not run out of stack", async () => {
  const chain = (length: number, make: (name: string) => ReturnType<typeof pass>) =>
    Array.from({ length }, (_, n) => make(`task${n}`));
  const shapes = [
    chain(500, pass),
    chain(200, (name) => waits(name, (event) => event)),
    chain(200, (name) => waits(name, (event) => new Tracked(event, () => {}))),
    chain(200, (name) => waits(name, (event) => Promise.resolve(event))),
    chain(100, (name) => batches(name, 1)),
    chain(200, (name) => sync(name, (event, _, call) => call.expand([event]))),
  ];
  for (const tasks of shapes) {
    const source = new HandSource();
    const end = keeps();
    const { log, errors } = errorLog();
    const { run } = await startFlow([source.task(), ...tasks, end.task], { log });
    for (let n = 0; n < 3; n++) {
      assert.deepEqual(await source.output.deliver(testEvent(n)), { ok: true });
    }
    assert.equal(end.got.length, 3);
    assert.equal(run.health().open, 0);
    assert.deepEqual(errors, []);
    await run.stop(0);
  }
});

Deno.test("a failed event runs through a long chain of handlers", async () => {
  const source = new HandSource();
  const handlers = Array.from({ length: 100 }, (_, n) =>
    sync(`h${n}`, () => {
      throw new FlowError("event.invalid", `h${n} is broken`);
    }, { when: "error", dependsOn: [n === 0 ? "broken" : `h${n - 1}`] }));
  const { run } = await startFlow([
    source.task(),
    sync("broken", () => {
      throw new FlowError("event.invalid", "boom");
    }),
    ...handlers,
  ]);
  const outcome = await source.output.deliver(testEvent(1));
  assert.equal(!outcome.ok && (outcome.cause as FlowError).message, "h99 is broken");
  await run.stop(0);
});

Deno.test("what a collector refuses may be expanded into a full stage", async () => {
  const source = new HandSource();
  const slow = gate<null>();
  const { run } = await startFlow([
    source.task(),
    collects("picky", () => ({
      add() {
        throw new FlowError("event.invalid", "no");
      },
      drop() {},
      flush() {},
    })),
    expands(10, "many", { when: "error" }),
    waits("slow", slow.run, { concurrency: 1, dependsOn: ["many"] }),
  ]);
  const outcome = source.output.deliver(testEvent(1));
  await settle();
  assert.equal(slow.waiting.length, 1);
  await slow.open(() => null);
  assert.ok((await outcome).ok);
  await run.stop(0);
});

Deno.test("a task that follows several events hears of them once, when the last has ended", async () => {
  for (const failing of [false, true]) {
    const source = new HandSource();
    const heard: boolean[] = [];
    const slow = gate<null>();
    const { run } = await startFlow([
      source.task(),
      waits(
        "follow",
        (event) =>
          new Tracked(
            new Many([1, 2, 3].map((data) => ({ ...event, data }))),
            ({ ok }) => heard.push(ok),
          ),
      ),
      waits("slow", slow.run),
    ]);
    const outcome = source.output.deliver(testEvent("all"));
    await settle();
    assert.deepEqual(data(slow.waiting.map(({ event }) => event)), [1, 2, 3]);
    slow.waiting[0]!.resolve(null);
    if (failing) slow.waiting[1]!.reject(new Error("no"));
    else slow.waiting[1]!.resolve(null);
    await settle();
    assert.deepEqual(heard, []);
    slow.waiting[2]!.resolve(null);
    assert.equal((await outcome).ok, !failing);
    assert.deepEqual(heard, [!failing]);
    assert.equal(run.health().open, 0);
    await run.stop(0);
  }
});

Deno.test("a task that follows no event at all hears of it, and so does one whose events fail to come", async () => {
  const source = new HandSource();
  const heard: boolean[] = [];
  const { run } = await startFlow([
    source.task(),
    waits("follow", (event) =>
      new Tracked(
        new Many((function* () {
          if (event.data === "fails") throw new Error("no");
        })()),
        ({ ok }) => heard.push(ok),
      )),
    pass("end"),
  ]);
  assert.ok((await source.output.deliver(testEvent("none"))).ok);
  assert.ok(!(await source.output.deliver(testEvent("fails"))).ok);
  assert.deepEqual(heard, [true, false]);
  assert.equal(run.health().open, 0);
  await run.stop(0);
});
