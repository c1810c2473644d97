import assert from "node:assert/strict";
import { settle, TestClock } from "../../core/clock.ts";
import { DEFAULT_LIMITS } from "../../flow/queue.ts";
import type { Store } from "../../flow/store.ts";
import { testEvent } from "../../flow/testing.ts";
import { DenoKvStore } from "../deno_kv.ts";
import { MemoryStore } from "../memory.ts";
import { StoreQueues } from "./store_queue.ts";
import { numbers, type QueueWorld, take, Taker, testQueue } from "./testing.ts";

/** Queues of one process after another over one store. */
function worldOn(make: (clock: TestClock) => Store | Promise<Store>) {
  return async (): Promise<QueueWorld> => {
    const clock = new TestClock();
    const store = await make(clock);
    const lives: StoreQueues[] = [];
    const live = () => {
      const queues = new StoreQueues({ store, clock });
      lives.push(queues);
      return queues;
    };
    return {
      queues: live(),
      restarted: live,
      async pass(ms) {
        await settle(20);
        await clock.advance(ms);
        await settle(20);
      },
      async [Symbol.asyncDispose]() {
        for (const queues of lives) await queues[Symbol.asyncDispose]();
        await store[Symbol.asyncDispose]();
        assert.equal(clock.pending, 0);
      },
    };
  };
}

testQueue("store_queue", worldOn((clock) => new MemoryStore({ clock })));

const denoKv = async (clock: TestClock) =>
  new DenoKvStore({ kv: await Deno.openKv(":memory:"), clock });
testQueue("store_queue on deno_kv", worldOn(denoKv));

/** Counts what is read from a store. */
function counting(store: Store): Store & { entries: number } {
  let entries = 0;
  return new Proxy(store, {
    get(target, name: keyof Store | "entries") {
      if (name === "entries") return entries;
      if (name === "list") {
        return async function* (prefix: string[]) {
          for await (const entry of target.list(prefix)) {
            entries++;
            yield entry;
          }
        };
      }
      return (target[name] as () => unknown).bind(target);
    },
  }) as Store & { entries: number };
}

Deno.test("store_queue: a long queue is counted and read without reading all of it", async () => {
  const clock = new TestClock();
  await using disk = await denoKv(clock);
  const before = await new StoreQueues({ store: disk, clock }).open("q");
  await Promise.all(numbers(20_000).map((i) => before.push(testEvent(i))));
  const store = counting(disk);
  const queue = await new StoreQueues({ store, clock }).open("q");
  assert.deepEqual(await queue.size(), await before.size());
  const [first] = await take(queue, 1);
  assert.equal(first!.event.data, 0);
  assert.ok(store.entries < 1_200, `read ${store.entries} entries`);
});

Deno.test("store_queue: events pushed in one turn share a commit", async () => {
  const clock = new TestClock();
  const kv = await Deno.openKv(":memory:");
  let commits = 0;
  const atomic = kv.atomic.bind(kv);
  kv.atomic = () => (commits++, atomic());
  await using store = new DenoKvStore({ kv, clock });
  const queue = await new StoreQueues({ store, clock }).open("q");
  await queue.push(testEvent(0));
  commits = 0;
  await Promise.all(numbers(200).map((i) => queue.push(testEvent(i))));
  assert.equal(commits, 1);
});

Deno.test("store_queue: acknowledgements of one turn share a commit", async () => {
  const clock = new TestClock();
  const kv = await Deno.openKv(":memory:");
  let commits = 0;
  const atomic = kv.atomic.bind(kv);
  kv.atomic = () => (commits++, atomic());
  await using store = new DenoKvStore({ kv, clock });
  const queue = await new StoreQueues({ store, clock }).open("q");
  await Promise.all(numbers(60).map((i) => queue.push(testEvent(i))));
  const claims = await take(queue, 60);
  commits = 0;
  await Promise.all(claims.map((claim) => claim.ack()));
  assert.equal(commits, 1);
});

Deno.test("store_queue: what goes back in one turn costs one write", async () => {
  const clock = new TestClock();
  await using store = new MemoryStore({ clock });
  const queue = await new StoreQueues({ store, clock }).open("q");
  for (const i of numbers(60)) await queue.push(testEvent(i));
  const claims = await take(queue, 60);
  let writes = 0;
  const put = store.put.bind(store);
  store.put = (...given) => (writes++, put(...given));
  await Promise.all(claims.map((claim) => claim.giveBack()));
  assert.equal(writes, 1);
});

Deno.test("store_queue: a full queue does not drop what is being worked on", async () => {
  const clock = new TestClock();
  await using queues = new StoreQueues({ store: new MemoryStore({ clock }), clock });
  const limits = { ...DEFAULT_LIMITS, maxEvents: 3, whenFull: "drop_oldest" as const };
  const queue = await queues.open("q", limits);
  for (const i of numbers(3)) await queue.push(testEvent(i));
  const [zero, one] = await take(queue, 2);
  await one!.nak(600_000);
  await queue.push(testEvent(3)); // instead of 1, which waits
  await queue.push(testEvent(4)); // instead of 2, which nobody has taken
  const rest = await take(queue, 2);
  assert.deepEqual(rest.map(({ event }) => event.data), [3, 4]);
  await assert.rejects(queue.push(testEvent(5)), { code: "queue.full" });
  await zero!.ack();
  await queue.push(testEvent(5));
});

Deno.test("store_queue: an event that cannot be read stays and holds up nobody", async () => {
  const clock = new TestClock();
  await using store = new MemoryStore({ clock });
  await using queues = new StoreQueues({ store, clock });
  const queue = await queues.open("q");
  for (const i of numbers(2)) await queue.push(testEvent(i));
  const [first] = await Array.fromAsync(store.list(["queue", "q", "e"]));
  await store.put(first!.key, new Uint8Array([1, 2, 3]));
  await using taker = new Taker(queue);
  assert.equal((await taker.next(1))[0]!.event.data, 1);
  const next = taker.next(1);
  await store.put(first!.key, first!.value);
  await clock.advance(60_000);
  assert.equal((await next)[0]!.event.data, 0);
});

Deno.test("store_queue: what was made ready and never delivered does not count", async () => {
  const clock = new TestClock();
  await using store = new MemoryStore({ clock });
  const first = new StoreQueues({ store, clock });
  const before = await first.open("q");
  for (const i of numbers(3)) await before.push(testEvent(i));
  await using taker = new Taker(before);
  await taker.next(1);
  await first[Symbol.asyncDispose]();
  await using second = new StoreQueues({ store, clock });
  const claims = await take(await second.open("q"), 3);
  assert.deepEqual(claims.map(({ attempts }) => attempts), [2, 1, 1]);
});

Deno.test("store_queue: what was taken while its bucket filled up does not come twice", async () => {
  const clock = new TestClock();
  await using store = new MemoryStore({ clock });
  const queue = await new StoreQueues({ store, clock }).open("q");
  for (const i of numbers(100)) await queue.push(testEvent(i));
  await using taker = new Taker(queue);
  const claims = await taker.next(100);
  for (const i of numbers(930)) await queue.push(testEvent(100 + i));
  claims.push(...await taker.next(924));
  for (const claim of claims.splice(0)) await claim.nak(0);
  const again = await taker.next(1_024);
  assert.deepEqual(again.map(({ event }) => event.data), numbers(1_024));
});
