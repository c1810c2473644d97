/** Queues on JetStream, against a real server. */
import assert from "node:assert/strict";
import { jetstream, jetstreamManager } from "@nats-io/jetstream";
import { sleep, systemClock as clock } from "../../../src/core/clock.ts";
import { FlowError, isTransient } from "../../../src/core/errors.ts";
import { DEFAULT_LIMITS, type Queue } from "../../../src/flow/queue.ts";
import { testEvent } from "../../../src/flow/testing.ts";
import { acquireNats } from "../../../src/nats/connect.ts";
import { MemoryStore } from "../../../src/store/memory.ts";
import { JetStreamQueues } from "../../../src/store/queue/jetstream_queue.ts";
import { type QueueWorld, take, Taker, testQueue } from "../../../src/store/queue/testing.ts";
import { client, until } from "./flows.ts";
import { startProxy } from "./proxy.ts";
import { startNats } from "./server.ts";
import { steadily } from "./steadily.ts";

/** Short enough to be waited for, and longer than a busy machine stands still. */
const ACK_WAIT = 5_000;

/** A node of a cluster, as far as queues go. Nodes that shall know of one another share a store. */
function node(
  url: string,
  { store = new MemoryStore({ clock }), ackWait = ACK_WAIT, prefix = "test" } = {},
): JetStreamQueues {
  return new JetStreamQueues({ nats: { url }, prefix, store, clock, ackWait });
}

async function open(): Promise<QueueWorld> {
  const server = await startNats();
  const store = new MemoryStore({ clock });
  let queues = node(server.url, { store });
  return {
    queues,
    async restarted() {
      await queues[Symbol.asyncDispose]();
      return queues = node(server.url, { store });
    },
    pass: (ms) => sleep(clock, ms),
    async [Symbol.asyncDispose]() {
      await queues[Symbol.asyncDispose]();
      await server[Symbol.asyncDispose]();
    },
  };
}

testQueue("jetstream_queue", open);

Deno.test("jetstream_queue: what one node works on is not given to another, however long", async () => {
  const ackWait = 1_000;
  await steadily(ackWait / 6, async (watch) => {
    await using server = await startNats();
    await watch(server.url);
    await using one = node(server.url, { ackWait });
    await using two = node(server.url, { ackWait });
    const queue = await one.open("q");
    await queue.push(testEvent("slow"));
    const [claim] = await take(queue, 1);
    await using taker = new Taker(await two.open("q"));
    const next = taker.next(1);
    await sleep(clock, 3 * ackWait);
    await queue.push(testEvent("quick"));
    assert.deepEqual((await next).map(({ event }) => event.data), ["quick"]);
    await claim!.ack();
    assert.equal((await queue.size()).events, 1);
  });
});

Deno.test("jetstream_queue: nodes share a queue, and what one leaves the others get", async () => {
  await using server = await startNats();
  await using two = node(server.url);
  const one = node(server.url);
  const queue = await one.open("q");
  await queue.push(testEvent("a"));
  await queue.push(testEvent("b"));
  const [a] = await take(queue, 1);
  await using taker = new Taker(await two.open("q"), 2);
  const [b] = await taker.next(1);
  assert.deepEqual([a!.event.data, b!.event.data], ["a", "b"]);
  await one[Symbol.asyncDispose](); // as if it was killed
  const [again] = await taker.next(1);
  assert.deepEqual([again!.event.data, again!.attempts], ["a", 2]);
});

Deno.test("jetstream_queue: what is on its way to a taker that ends is there for others at once", async () => {
  await using server = await startNats();
  await using proxy = startProxy(server.port);
  await using own = await client(server.url);
  const store = new MemoryStore({ clock });
  await using one = node(proxy.url, { store, ackWait: 30_000 });
  await using two = node(server.url, { store, ackWait: 30_000 });
  const queue = await two.open("q");
  await queue.push(testEvent(0));
  const ending = new Taker(await one.open("q"), 10);
  const [first] = await ending.next(1);
  await first!.ack();
  const next = ending.next(1);
  const info = () => own.manager.consumers.info("test_queue_q", "takers");
  await until("it asks for more", async () => (await info()).num_waiting > 0);
  proxy.hold("to_client");
  for (const i of [1, 2, 3]) await queue.push(testEvent(i));
  await until("all are sent", async () => (await info()).num_ack_pending === 3);
  const end = Promise.all([ending[Symbol.asyncDispose](), assert.rejects(next)]);
  proxy.heal();
  await end;
  // Had they waited for `ack_wait`, they would be second deliveries.
  const claims = await take(queue, 3);
  assert.deepEqual(claims.map(({ event, attempts }) => [event.data, attempts]).sort(), [
    [1, 1],
    [2, 1],
    [3, 1],
  ]);
});

Deno.test("jetstream_queue: a taker that is told to end while deliveries are counted takes nothing", async () => {
  await using server = await startNats();
  const store = new MemoryStore({ clock });
  await using queues = node(server.url, { store });
  const queue = await queues.open("q");
  await queue.push(testEvent("a"));
  const [first] = await take(queue, 1);
  await first!.nak(0);
  const { promise: looked, resolve: looks } = Promise.withResolvers<void>();
  const { promise: gate, resolve: open } = Promise.withResolvers<void>();
  const list = store.list.bind(store);
  store.list = async function* (prefix) {
    looks();
    await gate;
    yield* list(prefix);
  };
  const taker = new Taker(queue);
  const next = assert.rejects(taker.next(1), { message: "it ended after 0 of 1 events" });
  await looked;
  const end = taker[Symbol.asyncDispose]();
  open();
  await Promise.all([next, end]);
  assert.deepEqual((await take(queue, 1)).map(({ attempts }) => attempts), [2]);
});

Deno.test("jetstream_queue: a store that is away loses no event and no count", async () => {
  await using server = await startNats();
  const store = new MemoryStore({ clock });
  await using queues = node(server.url, { store });
  const queue = await queues.open("q");
  await queue.push(testEvent("a"));
  const away = () => Promise.reject(new FlowError("store.unavailable", "Away"));
  const { create, list } = store;
  store.create = away;
  const [first] = await take(queue, 1);
  await first!.giveBack(); // counts, for want of better
  store.create = create;
  store.list = async function* () {
    await away();
  };
  await assert.rejects(take(queue, 1), { code: "store.unavailable" });
  store.list = list;
  const [again] = await take(queue, 1);
  assert.deepEqual([again!.event.data, again!.attempts], ["a", 3]);
});

Deno.test("jetstream_queue: a restart of the server loses nothing", async () => {
  await using server = await startNats({ sync: true });
  await using queues = node(server.url);
  const queue = await queues.open("q");
  for (const i of [1, 2, 3]) await queue.push(testEvent(i));
  const [first] = await take(queue, 1);
  await first!.ack();
  await server.kill();
  await assert.rejects(queue.push(testEvent("lost")), isTransient);
  await server.start();
  await pushUntilKept(queue, 4);
  const seen = new Set<unknown>();
  while (seen.size < 3) {
    try {
      for (const claim of await take(queue, 1)) {
        seen.add(claim.event.data);
        await claim.ack();
      }
    } catch (cause) {
      assert.ok(isTransient(cause), String(cause));
    }
  }
  assert.deepEqual([...seen].sort(), [2, 3, 4]);
});

async function pushUntilKept(queue: Queue, data: number): Promise<void> {
  for (;;) {
    try {
      return await queue.push(testEvent(data));
    } catch (cause) {
      assert.ok(isTransient(cause), String(cause));
    }
  }
}

Deno.test("jetstream_queue: a taker goes on when the server comes back", async () => {
  await using server = await startNats({ sync: true });
  await using queues = node(server.url);
  const queue = await queues.open("q");
  await using taker = new Taker(queue);
  const first = taker.next(1).catch((cause) => cause);
  await server.kill();
  await server.start();
  await pushUntilKept(queue, 1);
  const got = await first;
  // Either it noticed nothing, or the source that takes is started again.
  const claims = got instanceof Error ? await take(queue, 1) : got;
  assert.equal(claims[0].event.data, 1);
});

Deno.test("jetstream_queue: a message of another program stays and holds up nobody", async () => {
  await using server = await startNats();
  await using queues = node(server.url);
  const queue = await queues.open("q");
  await using lease = await acquireNats({ url: server.url });
  await jetstream(lease.connection).publish("test.queue.q", "not an event");
  await queue.push(testEvent(1));
  const [claim] = await take(queue, 1);
  assert.equal(claim!.event.data, 1);
  await claim!.ack();
  assert.equal((await queue.size()).events, 1);
});

Deno.test("jetstream_queue: an event larger than the server takes is refused for good", async () => {
  await using server = await startNats({ maxPayload: 65_536 });
  await using queues = node(server.url);
  const queue = await queues.open("q");
  await assert.rejects(queue.push(testEvent("x".repeat(70_000))), {
    code: "queue.event_too_large",
    remedy: "event",
  });
});

Deno.test("jetstream_queue: a queue that was deleted is made again", async () => {
  await using server = await startNats();
  await using queues = node(server.url);
  const queue = await queues.open("q", { ...DEFAULT_LIMITS, maxEvents: 5 });
  await using lease = await acquireNats({ url: server.url });
  const { streams } = await jetstreamManager(lease.connection);
  await streams.delete("test_queue_q");
  await assert.rejects(queue.push(testEvent(1)), isTransient);
  const again = await queues.open("q", { ...DEFAULT_LIMITS, maxEvents: 5 });
  await again.push(testEvent(2));
  assert.equal((await streams.info("test_queue_q")).config.max_msgs, 5);
  assert.equal((await take(queue, 1))[0]!.event.data, 2);
});

Deno.test("jetstream_queue: queues of different prefixes are different queues", async () => {
  await using server = await startNats();
  await using one = node(server.url);
  await using two = node(server.url, { prefix: "other" });
  await (await one.open("q")).push(testEvent(1));
  assert.equal((await (await two.open("q")).size()).events, 0);
});

Deno.test("jetstream_queue: says that there is no JetStream", async () => {
  await using server = await startNats({ jetstream: false });
  await using queues = node(server.url);
  await assert.rejects(queues.open("q"), {
    code: "nats.no_jetstream",
    remedy: "config",
    message: "Cannot use JetStream: the server runs without it",
  });
});
