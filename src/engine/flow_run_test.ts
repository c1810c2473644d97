import assert from "node:assert/strict";
import { settle, TestClock } from "../core/clock.ts";
import { FlowError } from "../core/errors.ts";
import { type Log, silentLog } from "../core/log.ts";
import { derive, type FlowEvent } from "../flow/event.ts";
import { type Held, Many, type Outcome, Tracked } from "../flow/task.ts";
import { testEvent } from "../flow/testing.ts";
import { collects, HandSource, startFlow, sync, waits } from "./testing.ts";

const pass = (name: string, options = {}) => sync(name, (event, emit) => emit(event), options);
const boom = () => {
  throw new FlowError("event.invalid", "boom");
};
const transient = () => new FlowError("http.unavailable", "down");
const data = (events: readonly FlowEvent[]) => events.map((event) => event.data);

/** A leaf that keeps what it gets. */
function keeps(name = "end", options = {}) {
  const got: FlowEvent[] = [];
  return { got, task: sync(name, (event) => void got.push(event), options) };
}

/** A batch of everything, emitted on flush. */
function bag(name = "bag", options = {}) {
  let held: Held[] = [];
  const reasons: string[] = [];
  const task = collects(name, (output) => ({
    add: (one) => void held.push(one),
    drop: (one) => void (held = held.filter((other) => other !== one)),
    flush(reason) {
      if (held.length === 0) return;
      reasons.push(reason);
      const members = held.splice(0);
      const items = members.map((one) => one.event.data as string);
      output.emit(derive(members[0]!.event, { data: { items, reason }, subject: name }), members);
    },
    completed() {},
  }), options);
  return { task, reasons, held: () => held };
}

/** Promises that the test settles one by one. */
function gate<T>() {
  const waiting: { event: FlowEvent; resolve: (value: T) => void; reject: (e: unknown) => void }[] =
    [];
  return {
    waiting,
    run: (event: FlowEvent) =>
      new Promise<T>((resolve, reject) => waiting.push({ event, resolve, reject })),
  };
}

Deno.test("an event that ran through sync tasks is acknowledged at once", async () => {
  const source = new HandSource();
  const { run } = await startFlow([source.task(), pass("a"), pass("b")]);
  let outcome: Outcome | undefined;
  source.output.emit(testEvent(1), (result) => outcome = result);
  assert.deepEqual(outcome, { ok: true });
  assert.equal(run.health().open, 0);
  await run.stop(0);
});

Deno.test("one failed branch fails the delivery, whichever and whenever", async () => {
  const source = new HandSource();
  const slow = gate<FlowEvent>();
  const { run } = await startFlow([
    source.task(),
    waits("slow", slow.run, { dependsOn: ["in"] }),
    sync("broken", boom, { dependsOn: ["in"] }),
  ]);
  const outcome = source.output.deliver(testEvent(1));
  await settle();
  assert.equal(run.health().open, 1, "the slow branch still counts");
  slow.waiting[0]!.resolve(testEvent(2));
  const result = await outcome;
  assert.ok(!result.ok);
  assert.equal((result.cause as FlowError).message, "boom");
  await run.stop(0);
});

Deno.test("an event dropped on purpose counts as done", async () => {
  const source = new HandSource();
  const { run } = await startFlow([source.task(), sync("drop", () => {}), waits("never", boom)]);
  assert.deepEqual(await source.output.deliver(testEvent(1)), { ok: true });
  await run.stop(0);
});

Deno.test("an error branch gets the event as the failing task got it, with the error", async () => {
  const source = new HandSource();
  const handler = keeps("dlq", { when: "error" });
  const end = keeps("end");
  const { run } = await startFlow([
    source.task(),
    sync("change", (event, emit) => emit(derive(event, { data: "changed", subject: "change" }))),
    sync("broken", boom),
    end.task,
    handler.task,
  ]);
  assert.deepEqual(await source.output.deliver(testEvent("in")), { ok: true });
  assert.deepEqual(data(end.got), []);
  assert.deepEqual(data(handler.got), ["changed"]);
  const { time: _, ...error } = handler.got[0]!.error!;
  assert.deepEqual(error, {
    message: "boom",
    code: "event.invalid",
    task: "broken",
    attempts: 1,
  });
  await run.stop(0);
});

Deno.test("a handler that fails itself fails the delivery", async () => {
  const source = new HandSource();
  const { run } = await startFlow([
    source.task(),
    sync("broken", boom),
    sync("dlq", () => {
      throw new FlowError("event.other", "dlq is broken too");
    }, { when: "error" }),
  ]);
  const result = await source.output.deliver(testEvent("in"));
  assert.equal(!result.ok && (result.cause as FlowError).code, "event.other");
  await run.stop(0);
});

Deno.test("when: always takes what succeeded and what failed", async () => {
  const source = new HandSource();
  const always = keeps("always", { when: "always" });
  const { run } = await startFlow([
    source.task(),
    sync("odd", (event, emit) => (event.data as number) % 2 ? emit(event) : boom()),
    always.task,
  ]);
  for (const n of [1, 2, 3]) assert.ok((await source.output.deliver(testEvent(n))).ok);
  assert.deepEqual(always.got.map((e) => [e.data, e.error?.code]), [
    [1, undefined],
    [2, "event.invalid"],
    [3, undefined],
  ]);
  await run.stop(0);
});

Deno.test("async tasks run up to concurrency and hand on in order", async () => {
  const source = new HandSource({ ordered: true });
  const slow = gate<FlowEvent>();
  const end = keeps();
  const { run } = await startFlow([
    source.task(),
    waits("slow", slow.run, { concurrency: 3 }),
    end.task,
  ]);
  for (let n = 0; n < 5; n++) source.output.emit(testEvent(n), () => {});
  await settle();
  assert.equal(slow.waiting.length, 3);
  const [a, b, c] = slow.waiting;
  c!.resolve(c!.event);
  b!.resolve(b!.event);
  await settle();
  assert.deepEqual(data(end.got), [], "0 is not done");
  a!.resolve(a!.event);
  await settle();
  assert.deepEqual(data(end.got), [0, 1, 2]);
  for (const one of slow.waiting) one.resolve(one.event);
  await settle();
  assert.deepEqual(data(end.got), [0, 1, 2, 3, 4]);
  await run.stop(0);
});

Deno.test("requests do not wait for one another", async () => {
  const source = new HandSource({ request: true });
  const slow = gate<FlowEvent>();
  const { run } = await startFlow([source.task(), waits("slow", slow.run), pass("end")]);
  const first = source.output.request(testEvent("first"));
  const second = source.output.request(testEvent("second"));
  await settle();
  slow.waiting[1]!.resolve(slow.waiting[1]!.event);
  assert.deepEqual(await second, { kind: "data", data: "second" });
  slow.waiting[0]!.resolve(slow.waiting[0]!.event);
  assert.deepEqual(await first, { kind: "data", data: "first" });
  await run.stop(0);
});

Deno.test("a transient failure is tried again from the event the task got", async () => {
  const source = new HandSource();
  const seen: unknown[] = [];
  const end = keeps();
  const { run, clock } = await startFlow([
    source.task(),
    waits("flaky", (event, call) => {
      seen.push([event.data, call.attempt]);
      if (call.attempt < 3) throw transient();
      return derive(event, { data: "ok", subject: "flaky" });
    }),
    end.task,
  ]);
  const outcome = source.output.deliver(testEvent("in"));
  await clock.advance(10_000);
  assert.deepEqual(await outcome, { ok: true });
  assert.deepEqual(seen, [["in", 1], ["in", 2], ["in", 3]]);
  assert.deepEqual(data(end.got), ["ok"]);
  await run.stop(0);
});

Deno.test("a permanent failure is not tried again", async () => {
  const source = new HandSource();
  let attempts = 0;
  const { run } = await startFlow([
    source.task(),
    waits("broken", () => {
      attempts++;
      return boom();
    }),
  ]);
  assert.ok(!(await source.output.deliver(testEvent("in"))).ok);
  assert.equal(attempts, 1);
  await run.stop(0);
});

Deno.test("attempts end at max_attempts and the error says how many there were", async () => {
  const source = new HandSource();
  const handler = keeps("dlq", { when: "error" });
  const { run, clock } = await startFlow([
    source.task(),
    waits("flaky", () => Promise.reject(transient()), {
      retry: { max_attempts: 3, initial_backoff: 100, max_backoff: 1_000 },
    }),
    handler.task,
  ]);
  const outcome = source.output.deliver(testEvent("in"));
  await clock.advance(1_000);
  await outcome;
  assert.equal(handler.got[0]!.error!.attempts, 3);
  await run.stop(0);
});

Deno.test("a Retry-After that is longer than the backoff wins", async () => {
  const source = new HandSource();
  const at: number[] = [];
  const clock = new TestClock(0);
  const { run } = await startFlow([
    source.task(),
    waits("flaky", (_, call) => {
      at.push(clock.now());
      if (call.attempt === 1) {
        throw new FlowError("http.status_retry", "busy", { retryAfter: 60_000 });
      }
      return null;
    }),
  ], { clock });
  const outcome = source.output.deliver(testEvent("in"));
  await clock.advance(60_000);
  await outcome;
  assert.deepEqual(at, [0, 60_000]);
  await run.stop(0);
});

Deno.test("other deliveries pass one in retry, unless the task is ordered", async () => {
  for (const ordered of [false, true]) {
    const source = new HandSource({ ordered: true });
    const end = keeps();
    const { run, clock } = await startFlow([
      source.task(),
      waits("flaky", async (event, call) => {
        await Promise.resolve();
        if (event.data === 0 && call.attempt === 1) throw transient();
        return event;
      }, { ordered }),
      end.task,
    ]);
    for (let n = 0; n < 3; n++) source.output.emit(testEvent(n), () => {});
    await settle();
    assert.deepEqual(data(end.got), ordered ? [] : [1, 2]);
    await clock.advance(2_000);
    assert.deepEqual(data(end.got), ordered ? [0, 1, 2] : [1, 2, 0]);
    await run.stop(0);
  }
});

Deno.test("ordered: true on a leaf works on one event at a time, retries and all", async () => {
  const source = new HandSource();
  const log: string[] = [];
  const { run, clock } = await startFlow([
    source.task(),
    waits("sink", async (event, call) => {
      log.push(`${event.data} starts`);
      await Promise.resolve();
      if (event.data === 0 && call.attempt === 1) throw transient();
      log.push(`${event.data} ends`);
      return null;
    }, { ordered: true }),
  ]);
  for (let n = 0; n < 2; n++) source.output.emit(testEvent(n), () => {});
  await clock.advance(5_000);
  assert.deepEqual(log, ["0 starts", "0 starts", "0 ends", "1 starts", "1 ends"]);
  await run.stop(0);
});

Deno.test("deliver waits for the slot of a delivery that expired but has not ended", async () => {
  const source = new HandSource({ window: 1 });
  const slow = gate<null>();
  const { run, clock } = await startFlow([
    source.task("in", { ackTimeout: 1_000 }),
    waits("slow", slow.run),
  ]);
  const first = source.output.deliver(testEvent(1));
  await clock.advance(1_000);
  assert.ok(!(await first).ok);
  const second = source.output.deliver(testEvent(2));
  await settle();
  assert.equal(slow.waiting.length, 1);
  slow.waiting[0]!.resolve(null);
  await settle();
  slow.waiting[1]!.resolve(null);
  assert.ok((await second).ok);
  await run.stop(0);
});

Deno.test("inside one delivery the order holds, retries or not", async () => {
  const source = new HandSource();
  const end = keeps();
  const { run, clock } = await startFlow([
    source.task(),
    sync("many", (event, _, call) => call.expand([0, 1, 2, 3].map((n) => ({ ...event, data: n })))),
    waits("flaky", async (event, call) => {
      await Promise.resolve();
      if (event.data === 1 && call.attempt < 3) throw transient();
      return event;
    }),
    end.task,
  ]);
  const outcome = source.output.deliver(testEvent("all"));
  await clock.advance(10_000);
  assert.ok((await outcome).ok);
  assert.deepEqual(data(end.got), [0, 1, 2, 3]);
  await run.stop(0);
});

Deno.test("an expansion is pulled as the queue behind it has room", async () => {
  const source = new HandSource();
  let pulled = 0;
  function* numbers(event: FlowEvent) {
    for (let n = 0; n < 1_000; n++) {
      pulled++;
      yield { ...event, data: n };
    }
  }
  const slow = gate<null>();
  const { run } = await startFlow([
    source.task(),
    sync("many", (event, _, call) => call.expand(numbers(event))),
    waits("slow", slow.run, { concurrency: 2 }),
  ]);
  const outcome = source.output.deliver(testEvent("all"));
  await settle();
  assert.ok(pulled <= 8, `pulled ${pulled}`);
  let done = 0;
  while (done < 1_000) {
    for (const one of slow.waiting.splice(0)) {
      one.resolve(null);
      done++;
    }
    await settle(1);
  }
  assert.ok((await outcome).ok);
  await run.stop(0);
});

Deno.test("expansions inside expansions keep their order behind a full queue", async () => {
  const source = new HandSource({ request: true });
  const { run } = await startFlow([
    source.task("in", { reply: "list" }),
    sync(
      "outer",
      (event, _, call) => call.expand([..."abc"].map((letter) => ({ ...event, data: letter }))),
    ),
    sync(
      "inner",
      (event, _, call) =>
        call.expand([1, 2, 3].map((n) => ({ ...event, data: `${event.data}${n}` }))),
    ),
    waits("slow", async (event) => {
      await settle(1);
      return event;
    }, { concurrency: 1 }),
  ]);
  assert.deepEqual(await source.output.request(testEvent("all")), {
    kind: "list",
    items: ["a1", "a2", "a3", "b1", "b2", "b3", "c1", "c2", "c3"],
  });
  await run.stop(0);
});

Deno.test("a full window holds back the source until a delivery ends", async () => {
  const source = new HandSource();
  const slow = gate<null>();
  const { run } = await startFlow([
    source.task("in", { maxInFlight: 2 }),
    waits("slow", slow.run, { concurrency: 8 }),
  ]);
  assert.equal(source.output.emit(testEvent(1), () => {}), undefined);
  let free = false;
  const room = source.output.emit(testEvent(2), () => {}) as Promise<void>;
  void room.then(() => free = true);
  await settle();
  assert.equal(free, false);
  slow.waiting[0]!.resolve(null);
  await settle();
  assert.equal(free, true);
  slow.waiting[1]!.resolve(null);
  await settle();
  await run.stop(0);
});

Deno.test("one event larger than the byte window passes alone", async () => {
  const source = new HandSource();
  const slow = gate<null>();
  const { run } = await startFlow([
    source.task("in", { maxInFlightBytes: 10 }),
    waits("slow", slow.run),
  ]);
  let free = false;
  const room = source.output.emit(testEvent(1), () => {}, { bytes: 100 }) as Promise<void>;
  void room.then(() => free = true);
  await settle();
  assert.equal(free, false);
  assert.equal(slow.waiting.length, 1);
  slow.waiting[0]!.resolve(null);
  await settle();
  assert.equal(free, true);
  await run.stop(0);
});

Deno.test("a request beyond the window is refused at once", async () => {
  const source = new HandSource({ request: true });
  const slow = gate<null>();
  const { run } = await startFlow([
    source.task("in", { maxInFlight: 1 }),
    waits("slow", slow.run),
  ]);
  const first = source.output.request(testEvent(1));
  assert.throws(() => source.output.request(testEvent(2)), { code: "http.window_full" });
  slow.waiting[0]!.resolve(null);
  assert.deepEqual(await first, { kind: "none" });
  await run.stop(0);
});

Deno.test("ack_timeout fails once, aborts, and frees the slot when the last copy ended", async () => {
  const source = new HandSource();
  let aborted = false;
  const slow = gate<FlowEvent>();
  const end = keeps();
  const { run, clock } = await startFlow([
    source.task("in", { ackTimeout: 1_000 }),
    waits("slow", (event, call) => {
      call.signal.addEventListener("abort", () => aborted = true);
      return slow.run(event);
    }, { concurrency: 1 }),
    end.task,
  ]);
  const outcomes: Outcome[] = [];
  source.output.emit(testEvent(1), (outcome) => outcomes.push(outcome));
  source.output.emit(testEvent(2), (outcome) => outcomes.push(outcome));
  await clock.advance(999);
  assert.equal(outcomes.length, 0);
  await clock.advance(1);
  assert.deepEqual(outcomes.map((o) => !o.ok && (o.cause as FlowError).code), [
    "delivery.timeout",
    "delivery.timeout",
  ]);
  assert.ok(aborted);
  assert.equal(run.health().open, 1, "2 left the queue, 1 is still at work");
  slow.waiting[0]!.resolve(slow.waiting[0]!.event);
  await settle();
  assert.equal(run.health().open, 0);
  assert.deepEqual(end.got, []);
  assert.equal(outcomes.length, 2);
  await run.stop(0);
});

Deno.test("an expired delivery leaves retries and buffers", async () => {
  const source = new HandSource();
  const buffer = bag("bag", { dependsOn: ["in"] });
  const { run, clock } = await startFlow([
    source.task("in", { ackTimeout: 1_000 }),
    buffer.task,
    waits("flaky", () => Promise.reject(transient()), {
      dependsOn: ["in"],
      retry: { max_attempts: null, initial_backoff: 60_000, max_backoff: 60_000 },
    }),
  ]);
  const outcome = source.output.deliver(testEvent(1));
  await clock.advance(1_000);
  assert.ok(!(await outcome).ok);
  assert.deepEqual(buffer.held(), []);
  assert.equal(run.health().open, 0);
  assert.equal(clock.pending, 1, "only the timer that says a source is well");
  await run.stop(0);
});

Deno.test("a buffer settles all deliveries it absorbed with the fate of the batch", async () => {
  for (const fails of [false, true]) {
    const source = new HandSource();
    const buffer = bag();
    const { run } = await startFlow([
      source.task(),
      buffer.task,
      sync("end", (event, emit) => fails ? boom() : emit(event)),
    ]);
    const outcomes: boolean[] = [];
    for (let n = 0; n < 3; n++) source.output.emit(testEvent(n), (one) => outcomes.push(one.ok));
    assert.deepEqual(outcomes, []);
    await run.stop(1_000);
    assert.deepEqual(outcomes, [!fails, !fails, !fails]);
    assert.deepEqual(buffer.reasons, ["shutdown"]);
  }
});

Deno.test("a full window of which all waits in buffers flushes them", async () => {
  const source = new HandSource();
  const buffer = bag();
  const { run } = await startFlow([source.task("in", { maxInFlight: 3 }), buffer.task]);
  source.output.emit(testEvent(1), () => {});
  source.output.emit(testEvent(2), () => {});
  await settle();
  assert.deepEqual(buffer.reasons, []);
  const room = source.output.emit(testEvent(3), () => {});
  await room;
  assert.deepEqual(buffer.reasons, ["window"]);
  await run.stop(0);
});

Deno.test("a window that waits in two buffers in a row flushes both", async () => {
  const source = new HandSource();
  const [first, second] = [bag("first"), bag("second")];
  const { run } = await startFlow([source.task("in", { maxInFlight: 1 }), first.task, second.task]);
  await source.output.emit(testEvent(1), () => {});
  assert.deepEqual([...first.reasons, ...second.reasons], ["window", "window"]);
  assert.equal(run.health().open, 0);
  await run.stop(0);
});

Deno.test("a task that follows an event hears how it ended", async () => {
  const source = new HandSource();
  const heard: unknown[] = [];
  const slow = gate<FlowEvent>();
  const { run } = await startFlow([
    source.task(),
    waits(
      "follow",
      (event) => new Tracked(event, (outcome) => heard.push([event.data, outcome.ok])),
    ),
    waits("slow", slow.run),
    sync("end", (event) => event.data === 2 ? boom() : undefined),
  ]);
  const outcomes = [1, 2].map((n) => source.output.deliver(testEvent(n)));
  await settle();
  assert.deepEqual(heard, []);
  for (const one of slow.waiting) one.resolve(one.event);
  assert.deepEqual((await Promise.all(outcomes)).map((one) => one.ok), [true, false]);
  assert.deepEqual(heard, [[1, true], [2, false]]);
  await run.stop(0);
});

Deno.test("an async expansion that breaks midway fails the delivery without a retry", async () => {
  const source = new HandSource();
  let attempts = 0;
  const end = keeps();
  const { run } = await startFlow([
    source.task(),
    waits("many", (event) => {
      attempts++;
      return new Many((async function* () {
        yield { ...event, data: 1 };
        await settle(1);
        throw transient();
      })());
    }),
    end.task,
  ]);
  assert.ok(!(await source.output.deliver(testEvent(1))).ok);
  assert.equal(attempts, 1);
  assert.deepEqual(data(end.got), [1]);
  await run.stop(0);
});

Deno.test("stop ends intake, finishes what is under way, and fails the rest at its deadline", async () => {
  const source = new HandSource();
  const slow = gate<null>();
  const { run, clock } = await startFlow([source.task(), waits("slow", slow.run)]);
  const outcomes = [1, 2].map((n) => source.output.deliver(testEvent(n)));
  const stopped = run.stop(30_000);
  await settle();
  slow.waiting[0]!.resolve(null);
  assert.ok((await outcomes[0]!).ok);
  await clock.advance(30_000);
  assert.equal(await stopped, false);
  const late = await outcomes[1]!;
  assert.equal(!late.ok && (late.cause as FlowError).code, "delivery.stopped");
  slow.waiting[1]!.resolve(null);
  await settle();
});

Deno.test("a source whose loop breaks is started again and shown as degraded meanwhile", async () => {
  const source = new HandSource();
  const task = source.task();
  let starts = 0;
  if (task.definition.mode !== "source") throw new TypeError();
  const { create } = task.definition;
  const definition = {
    ...task.definition,
    create: async (context: Parameters<typeof create>[0]) => {
      const made = await create(context);
      return {
        run: (output: Parameters<typeof made.run>[0]) => {
          if (++starts < 3) throw new FlowError("http.unavailable", "no server yet");
          return made.run(output);
        },
      };
    },
  };
  const { run, clock } = await startFlow([{ ...task, definition }, pass("end")]);
  assert.equal(run.health().state, "degraded");
  assert.equal(run.health().error?.message, "no server yet");
  await clock.advance(20_000);
  assert.equal(starts, 3);
  assert.equal(run.health().state, "running");
  await run.stop(0);
});

Deno.test("a sync task that gives a promise fails its event and nothing else", async () => {
  const late = async () => {
    await Promise.resolve();
    throw new Error("too late");
  };
  // As the last task, and in front of one that may be full.
  for (const behind of [[], [waits("behind", () => null)]]) {
    const source = new HandSource();
    const { run } = await startFlow([source.task(), sync("waits", late as never), ...behind]);
    const result = await source.output.deliver(testEvent(1));
    assert.equal(!result.ok && (result.cause as FlowError).code, "task.sync_waits");
    await run.stop(0);
  }
});

Deno.test("what a sync task emits after its call has ended goes nowhere, and is told", async () => {
  const source = new HandSource();
  const told: unknown[] = [];
  const log: Log = {
    ...silentLog,
    error: (_, fields) => void told.push(fields!.code),
    with: () => log,
  };
  const end = keeps();
  let late = () => {};
  const { run } = await startFlow([
    source.task(),
    sync("late", (event, emit) => void (late = () => emit(event))),
    waits("slow", (event) => Promise.resolve(event)),
    end.task,
  ], { log });
  assert.ok((await source.output.deliver(testEvent(1))).ok);
  late();
  await settle();
  assert.deepEqual(end.got, []);
  assert.deepEqual(told, ["task.late_emit"]);
  assert.equal(run.health().open, 0);
  await run.stop(0);
});

Deno.test("an expansion gives the event loop a turn, also when nothing behind it waits", async () => {
  const source = new HandSource();
  // Every look at this clock takes a while, as a slow step would.
  let now = 0;
  const clock = Object.assign(new TestClock(0), { monotonic: () => now += 1 });
  const { run } = await startFlow([
    source.task(),
    sync(
      "many",
      (event, _, call) =>
        call.expand(Array.from({ length: 10_000 }, (_, n) => ({ ...event, data: n }))),
    ),
    sync("end", () => {}),
  ], { clock });
  let turns = 0;
  let counting = true;
  const count = () => {
    turns++;
    if (counting) setImmediate(count);
  };
  setImmediate(count);
  await source.output.deliver(testEvent(1));
  counting = false;
  assert.ok(turns > 10, `${turns} turns`);
  await settle();
  await run.stop(0);
});
