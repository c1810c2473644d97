import assert from "node:assert/strict";
import { settle } from "../../core/clock.ts";
import { FlowError } from "../../core/errors.ts";
import { HandSource } from "../../engine/testing.ts";
import type { Outcome } from "../../flow/task.ts";
import { testEvent } from "../../flow/testing.ts";
import { take } from "../../store/queue/testing.ts";
import { queuePush } from "./queue_push.ts";
import { QueueTestWorld, Target, task } from "./testing.ts";

const push = (config: object = {}, more = {}) => task(queuePush, { queue: "q", ...config }, more);

/** A flow that pushes what the test sends. */
async function pushing(world: QueueTestWorld, config: object = {}) {
  const source = new HandSource();
  const target = new Target();
  await world.start([source.task(), push(config), target.task()]);
  const outcomes: Outcome[] = [];
  const send = (data: number) =>
    void source.output.emit(testEvent(data), (outcome) => outcomes.push(outcome));
  return { source, target, outcomes, send };
}

Deno.test("queue_push keeps the event and passes it on as it is", async () => {
  await using world = new QueueTestWorld();
  const { source, target } = await pushing(world);
  const event = testEvent({ id: 1 }, { subject: "in", id: "x", meta: { tenant: "t" } });
  assert.deepEqual(await source.output.deliver(event), { ok: true });
  assert.equal(target.events[0], event);
  const [claim] = await take(await world.queue("q"), 1);
  assert.deepEqual(claim!.event, { ...event, error: undefined });
});

Deno.test("queue_push is done when the event is kept, not before", async () => {
  await using world = new QueueTestWorld();
  const kept = Promise.withResolvers<void>();
  const queues = world.queues;
  world.queues = {
    async open(name) {
      const queue = await queues.open(name);
      return {
        ...queue,
        name,
        push: (event) => kept.promise.then(() => queue.push(event)),
      } as typeof queue;
    },
    [Symbol.asyncDispose]: () => queues[Symbol.asyncDispose](),
  };
  const { target, outcomes, send } = await pushing(world);
  send(1);
  await settle();
  assert.deepEqual([target.data, outcomes], [[], []]);
  kept.resolve();
  await settle(20);
  assert.deepEqual([target.data, outcomes], [[1], [{ ok: true }]]);
});

Deno.test("queue_push tries again while the queue is full", async () => {
  await using world = new QueueTestWorld();
  const { target, outcomes, send } = await pushing(world, { max_events: 1 });
  send(1);
  send(2);
  await world.clock.advance(2_000);
  assert.deepEqual(target.data, [1]);
  const [claim] = await take(await world.queue("q"), 1);
  await claim!.ack();
  await world.clock.advance(10_000);
  assert.deepEqual([target.data, outcomes], [[1, 2], [{ ok: true }, { ok: true }]]);
});

Deno.test("queue_push makes room where it may", async () => {
  await using world = new QueueTestWorld();
  const { outcomes, send } = await pushing(world, { max_events: 2, when_full: "drop_oldest" });
  for (const i of [1, 2, 3]) send(i);
  await settle(20);
  assert.equal(outcomes.length, 3);
  assert.deepEqual((await world.contents("q")).map(({ data }) => data), [2, 3]);
});

Deno.test("queue_push keeps the error of what an error branch brings", async () => {
  await using world = new QueueTestWorld();
  const source = new HandSource();
  const target = new Target();
  target.fails = () => new FlowError("event.bad", "No");
  await world.start([source.task(), target.task(), push({}, { name: "keep", when: "error" })]);
  assert.deepEqual(await source.output.deliver(testEvent(1)), { ok: true });
  const [{ data, error }] = await world.contents("q") as [{ data: number; error: object }];
  assert.equal(data, 1);
  assert.deepEqual({ ...error, time: "" }, {
    code: "event.bad",
    message: "No",
    task: "target",
    attempts: 1,
    time: "",
  });
});

Deno.test("queue_push opens the queue again when that failed", async () => {
  await using world = new QueueTestWorld();
  const queues = world.queues;
  let failures = 2;
  world.queues = {
    async open(name, limits) {
      if (failures-- > 0) throw new FlowError("nats.unavailable", "Cannot reach NATS");
      return queues.open(name, limits);
    },
    [Symbol.asyncDispose]: () => queues[Symbol.asyncDispose](),
  };
  const { target, send } = await pushing(world);
  send(1);
  await world.clock.advance(10_000);
  assert.deepEqual(target.data, [1]);
});

Deno.test("queue_push makes nothing before the first event", async () => {
  await using world = new QueueTestWorld();
  world.queues = {
    open: () => assert.fail("opened"),
    async [Symbol.asyncDispose]() {},
  };
  await pushing(world);
});
