import assert from "node:assert/strict";
import { settle } from "../../core/clock.ts";
import { FlowError } from "../../core/errors.ts";
import type { Data } from "../../flow/event.ts";
import { DEFAULT_LIMITS } from "../../flow/queue.ts";
import { testEvent } from "../../flow/testing.ts";
import { take } from "../../store/queue/testing.ts";
import { findingsOf, keepingLog } from "../core/testing.ts";
import { queueSubscribe } from "./queue_subscribe.ts";
import { QueueTestWorld, Target, task } from "./testing.ts";

const transient = () => new FlowError("http.unavailable", "Cannot reach it");
const bad = () => new FlowError("event.bad", "Cannot use it");
const always = (failure: () => Error) => () => failure();

async function push(world: QueueTestWorld, ...data: Data[]) {
  const queue = await world.queue("q");
  for (const one of data) await queue.push(testEvent(one));
  return queue;
}

/** A flow that takes from "q". */
async function taking(world: QueueTestWorld, config: object = {}, more: object = {}) {
  const target = new Target();
  const log = keepingLog();
  const tasks = [task(queueSubscribe, { queue: "q", ...config }, more), target.task()];
  const run = await world.start(tasks, { log });
  return { target, run, log };
}

const eventsOf = async (world: QueueTestWorld, name: string) =>
  (await (await world.queue(name)).size()).events;

Deno.test("queue_subscribe brings what was pushed, and says where it was", async () => {
  await using world = new QueueTestWorld();
  const queue = await world.queue("q");
  const event = testEvent({ id: 1 }, { subject: "in", id: "x", meta: { tenant: "t" } });
  await queue.push(event);
  await queue.push(testEvent(new Uint8Array([1, 255])));
  const { target } = await taking(world);
  const said = { name: "q", attempts: 1, pushed: "2030-01-01T00:00:00.000Z" };
  assert.deepEqual({ ...target.events[0] }, {
    ...event,
    meta: { ...event.meta, queue: said },
  });
  assert.deepEqual(target.events[1]!.data, new Uint8Array([1, 255]));
});

Deno.test("queue_subscribe says what failed where an error was pushed", async () => {
  await using world = new QueueTestWorld();
  const queue = await world.queue("q");
  const time = "2030-01-01T00:00:00Z";
  const error = { code: "a.b", message: "no", task: "t", attempts: 1, time };
  await queue.push(testEvent(1, { error }));
  const { target } = await taking(world);
  const [{ meta, error: own }] = target.events as [typeof target.events[0]];
  assert.deepEqual((meta.queue as { error: unknown }).error, error);
  assert.equal(own, undefined);
});

Deno.test("queue_subscribe takes an event out when its delivery is done, not before", async () => {
  await using world = new QueueTestWorld();
  await push(world, 1);
  const { promise, resolve } = Promise.withResolvers<void>();
  const { target } = await (async () => {
    const target = new Target();
    target.gate = promise;
    await world.start([task(queueSubscribe, { queue: "q" }), target.task()]);
    return { target };
  })();
  assert.deepEqual([target.data, await eventsOf(world, "q")], [[1], 1]);
  resolve();
  await settle(20);
  assert.equal(await eventsOf(world, "q"), 0);
});

Deno.test("queue_subscribe brings an event again until it is done, later and later", async () => {
  await using world = new QueueTestWorld();
  const { target } = await taking(world);
  target.fails = ({ data }) => data === "bad" ? transient() : null;
  await push(world, "bad", "good");
  await settle(20);
  assert.deepEqual(target.data, ["bad", "good"]);
  await world.clock.advance(499); // half of a second, as jitter has it, is the earliest
  assert.equal(target.events.length, 2);
  await world.clock.advance(3_600_000);
  const { length } = target.events;
  assert.ok(length > 15 && length < 60, `${length} in an hour`);
  target.fails = null;
  await world.clock.advance(450_000);
  assert.equal(await eventsOf(world, "q"), 0);
});

Deno.test("queue_subscribe waits as long as backoff says, and as the other side asks", async () => {
  await using world = new QueueTestWorld();
  const { target } = await taking(world, { backoff: ["10s", "1m"] });
  target.fails = () =>
    new FlowError("http.status_retry", "429", {
      retryAfter: target.events.length === 4 ? 120_000 : undefined,
    });
  await push(world, 1);
  await settle(20);
  const seen: number[] = [];
  for (const wait of [9_999, 1, 59_999, 1, 59_999, 1, 119_999, 1]) {
    await world.clock.advance(wait);
    seen.push(target.events.length);
  }
  assert.deepEqual(seen, [1, 2, 2, 3, 3, 4, 4, 5]);
  assert.deepEqual(target.attempts, [1, 2, 3, 4, 5]);
});

Deno.test("queue_subscribe puts an event that is at fault aside at once", async () => {
  await using world = new QueueTestWorld();
  const { target, log } = await taking(world);
  target.fails = always(bad);
  await push(world, 1);
  await settle(20);
  assert.equal(await eventsOf(world, "q"), 0);
  const time = "2030-01-01T00:00:00.000Z";
  const error = {
    code: "event.bad",
    message: "Cannot use it",
    task: "queue_subscribe",
    attempts: 1,
  };
  assert.deepEqual(await world.contents("q_dead"), [{ data: 1, error: { ...error, time } }]);
  assert.deepEqual(log.lines.filter(([, text]) => text === "An event went to the dead letters"), [[
    "warning",
    "An event went to the dead letters",
    {
      ...error,
      time,
      queue: "q",
      dead_letter: "q_dead",
      correlation_id: "00000000-0000-7000-8000-000000000000",
    },
  ]]);
});

Deno.test("queue_subscribe goes on with an event that is at fault where it shall", async () => {
  await using world = new QueueTestWorld();
  const { target } = await taking(world, { on_permanent: "nak" });
  target.fails = always(bad);
  await push(world, 1);
  await world.clock.advance(2_000);
  assert.deepEqual(target.data, [1, 1]);
});

Deno.test("queue_subscribe does not take a wrong moment for a wrong event", async () => {
  for (const code of ["delivery.timeout", "throttle.limited", "http.credentials_invalid"]) {
    await using world = new QueueTestWorld();
    const { target } = await taking(world);
    target.fails = () => target.events.length === 1 ? new FlowError(code, "Not now") : null;
    await push(world, 1);
    await world.clock.advance(2_000);
    assert.deepEqual([code, target.data], [code, [1, 1]]);
    assert.equal(await eventsOf(world, "q_dead"), 0);
  }
});

Deno.test("queue_subscribe puts an event aside after max_deliver", async () => {
  await using world = new QueueTestWorld();
  const { target } = await taking(world, { max_deliver: 3, dead_letter: "failed" });
  target.fails = always(transient);
  await push(world, 1);
  await world.clock.advance(3_600_000);
  assert.deepEqual(target.attempts, [1, 2, 3]);
  const [{ data, error }] = await world.contents("failed") as [{ data: number; error: object }];
  assert.deepEqual([data, (error as { attempts: number }).attempts], [1, 3]);
});

Deno.test("queue_subscribe gives back at once what another node goes on with", async () => {
  await using world = new QueueTestWorld();
  const { target } = await taking(world, { max_deliver: 1 });
  const fenced = new FlowError("cluster.fenced", "Not ours");
  target.fails = () => target.events.length === 1 ? fenced : null;
  await push(world, 1);
  await settle(40);
  assert.deepEqual(target.attempts, [1, 1]);
  assert.equal(await eventsOf(world, "q"), 0);
});

Deno.test("queue_subscribe gives up nothing for being replaced time and again", async () => {
  await using world = new QueueTestWorld();
  await push(world, "a", "b", "c");
  const config = { max_deliver: 1 };
  for (let reload = 0; reload < 3; reload++) {
    const stuck = new Target();
    stuck.gate = new Promise(() => {});
    const source = task(queueSubscribe, { queue: "q", ...config }, { maxInFlight: 2 });
    const run = await world.start([source, stuck.task()]);
    assert.deepEqual([stuck.data.toSorted(), stuck.attempts], [["a", "b"], [1, 1]]);
    await world.stop(run);
    await settle(20);
  }
  const { target } = await taking(world, config);
  assert.deepEqual(target.data.toSorted(), ["a", "b", "c"]);
  assert.equal(await eventsOf(world, "q_dead"), 0);
});

Deno.test("queue_subscribe keeps what it cannot put aside", async () => {
  await using world = new QueueTestWorld();
  const dead = await world.queues.open("q_dead", { ...DEFAULT_LIMITS, maxEvents: 1 });
  await dead.push(testEvent("first"));
  const { target, log } = await taking(world);
  target.fails = always(bad);
  await push(world, 1);
  await world.clock.advance(2_000);
  assert.equal(await eventsOf(world, "q"), 1);
  assert.ok(
    log.lines.some(([level, , fields]) => level === "error" && fields.code === "queue.full"),
  );
  const [first] = await take(dead, 1);
  await first!.ack();
  await world.clock.advance(600_000);
  assert.deepEqual((await world.contents("q_dead")).map(({ data }) => data), [1]);
});

Deno.test("queue_subscribe has no more under way than its window", async () => {
  await using world = new QueueTestWorld();
  const { promise, resolve } = Promise.withResolvers<void>();
  const target = new Target();
  target.gate = promise;
  const source = task(queueSubscribe, { queue: "q" }, { maxInFlight: 2 });
  await world.start([source, target.task()]);
  await push(world, 1, 2, 3, 4);
  await settle(20);
  assert.deepEqual(target.data, [1, 2]);
  resolve();
  await settle(40);
  assert.deepEqual(target.data, [1, 2, 3, 4]);
});

Deno.test("queue_subscribe counts the bytes of its window", async () => {
  await using world = new QueueTestWorld();
  const target = new Target();
  target.gate = new Promise(() => {});
  const source = task(queueSubscribe, { queue: "q" }, { maxInFlightBytes: 25_000 });
  await world.start([source, target.task()]);
  await push(world, ..."abcd".split("").map((one) => one.repeat(10_000)));
  await settle(20);
  assert.equal(target.events.length, 3); // the one that fills the window is still let in
});

Deno.test("what a generation leaves undone, the next one does at once", async () => {
  await using world = new QueueTestWorld();
  const target = new Target();
  target.gate = new Promise(() => {});
  const old = await world.start([task(queueSubscribe, { queue: "q" }), target.task()]);
  await push(world, 1);
  await settle(20);
  assert.deepEqual(target.data, [1]);
  const next = await taking(world);
  assert.deepEqual(next.target.data, []);
  assert.equal(await world.stop(old), false);
  await settle(20);
  assert.deepEqual([next.target.data, next.target.attempts], [[1], [1]]);
});

Deno.test("a generation that stops takes nothing more and finishes what it has", async () => {
  await using world = new QueueTestWorld();
  const { promise, resolve } = Promise.withResolvers<void>();
  const target = new Target();
  target.gate = promise;
  const run = await world.start([task(queueSubscribe, { queue: "q" }), target.task()]);
  await push(world, 1);
  await settle(20);
  const stopping = run.stop(30_000);
  await push(world, 2);
  resolve();
  assert.equal(await stopping, true);
  assert.deepEqual(target.data, [1]);
  assert.deepEqual((await world.contents("q")).map(({ data }) => data), [2]);
});

Deno.test("queue_subscribe refuses dead letters that would go in circles", async () => {
  assert.deepEqual(await findingsOf(queueSubscribe, { queue: "q", dead_letter: "q" }), [
    'config.invalid_value Cannot use "q" as its own dead letters',
  ]);
  const long = "q".repeat(98);
  assert.deepEqual(await findingsOf(queueSubscribe, { queue: long }), [
    `config.invalid_value Cannot name a queue "${long}_dead"`,
  ]);
  assert.deepEqual(await findingsOf(queueSubscribe, { queue: long, dead_letter: "dead" }), []);
});
