import assert from "node:assert/strict";
import { settle, TestClock } from "../../core/clock.ts";
import { FlowError } from "../../core/errors.ts";
import { DEFAULT_LIMITS } from "../../flow/queue.ts";
import type { Store } from "../../flow/store.ts";
import { testEvent } from "../../flow/testing.ts";
import { DenoKvStore } from "../deno_kv.ts";
import { MemoryStore } from "../memory.ts";
import { StoreQueues } from "./store_queue.ts";
import { type QueueWorld, take, Taker, testQueue } from "./testing.ts";

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

/** A store that fails from its n-th write on, as if the process had died there. */
function dying(store: Store, diesAt: number, { late = false } = {}): Store & { writes: number } {
  const dead = () => new FlowError("store.unavailable", "Cannot reach the store: it died");
  const counting = { writes: 0 };
  return new Proxy(store, {
    get(target, name: keyof Store | "writes") {
      if (name === "writes") return counting.writes;
      const method = target[name] as (...args: unknown[]) => unknown;
      if (!["put", "create", "delete"].includes(name as string)) return method.bind(target);
      return async (...args: unknown[]) => {
        const at = counting.writes++;
        if (at > diesAt || (at === diesAt && !late)) throw dead();
        const result = await method.apply(target, args);
        if (at === diesAt) throw dead();
        return result;
      };
    },
  }) as Store & { writes: number };
}

const numbers = (count: number) => Array.from({ length: count }, (_, i) => i);

/** Pushes more than one bucket holds, takes and acknowledges all; gives what is known to be done. */
async function live(store: Store, clock: TestClock) {
  const queue = await new StoreQueues({ store, clock }).open("q");
  const pushed = new Set<number>();
  const acked = new Set<number>();
  await Promise.all(
    numbers(1_030).map((i) => queue.push(testEvent(i)).then(() => pushed.add(i), () => {})),
  );
  if (pushed.size === 0) return { pushed, acked };
  try {
    for await (const claim of queue.take(new AbortController().signal)) {
      await claim.ack();
      acked.add(claim.event.data as number);
      if (acked.size === pushed.size) break;
    }
  } catch {
    // It is dead.
  }
  return { pushed, acked };
}

Deno.test("store_queue: death at any write loses nothing and leaves nothing behind", async () => {
  const clock = new TestClock();
  const whole = dying(new MemoryStore({ clock }), Infinity);
  await live(whole, clock);
  const { writes } = whole;
  const points = numbers(writes).filter((n) =>
    n < 3 || n % 301 === 0 || Math.abs(n - 1_025) < 8 || writes - n < 15
  );
  for (const late of [false, true]) {
    for (const point of points) {
      const disk = new MemoryStore({ clock });
      const { pushed, acked } = await live(dying(disk, point, { late }), clock);
      const queue = await new StoreQueues({ store: disk, clock }).open("q");
      const { events } = await queue.size();
      const left = new Set<number>();
      await using taker = new Taker(queue);
      for (const _ of numbers(events)) {
        const [claim] = await taker.next(1);
        left.add(claim!.event.data as number);
        await claim!.ack();
      }
      const lost = [...pushed].filter((i) => !acked.has(i) && !left.has(i));
      // The one whose last answer was cut off may be either.
      assert.ok(lost.length <= (late ? 1 : 0), `at ${point}: lost ${lost}`);
      assert.deepEqual([...acked].filter((i) => left.has(i)), [], `at ${point}: came again`);
      assert.ok(await taker.waits({ pass: () => settle(5) } as unknown as QueueWorld));
      await clock.advance(1);
      assert.deepEqual(await keysOf(disk), [], `after ${point}`);
    }
  }
});

async function keysOf(store: Store): Promise<string[]> {
  return (await Array.fromAsync(store.list([]))).map(({ key }) => key.join("/"));
}

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

Deno.test("store_queue: a store that fails for a while loses nothing", async () => {
  const clock = new TestClock();
  let down = false;
  const store = faulty(new MemoryStore({ clock }), () => down);
  await using queues = new StoreQueues({ store, clock });
  const queue = await queues.open("q");
  for (const i of numbers(5)) await queue.push(testEvent(i));
  const claims = await take(queue, 5);
  down = true;
  await assert.rejects(claims[0]!.ack(), { code: "store.unavailable" });
  for (const claim of claims.slice(1)) await claim.nak(0);
  await assert.rejects(queue.push(testEvent(5)), { code: "store.unavailable" });
  await assert.rejects(take(queue, 1), { code: "store.unavailable" });
  down = false;
  await queue.push(testEvent(6));
  await using taker = new Taker(queue);
  const rest = taker.next(6);
  await clock.advance(60_000);
  const data = (await rest).map(({ event }) => event.data as number);
  assert.deepEqual(data.sort(), [0, 1, 2, 3, 4, 6]);
});

/** A store that fails the calls that `fails` says, after their effect where `late`. */
function faulty(
  store: Store,
  fails: (method: string, room: string | undefined) => boolean,
  { late = false } = {},
): Store {
  return new Proxy(store, {
    get(target, name: keyof Store) {
      const method = target[name] as (...args: unknown[]) => unknown;
      return (...args: unknown[]) => {
        const failed = fails(String(name), (args[0] as string[] | undefined)?.[2]);
        const result = failed && !late ? null : method.apply(target, args);
        if (failed) throw new FlowError("store.unavailable", "Cannot reach the store: down");
        return result;
      };
    },
  });
}

Deno.test("store_queue: a push that failed takes no room, and what it left is done in its turn", async () => {
  const clock = new TestClock();
  for (const late of [false, true]) {
    const disk = new MemoryStore({ clock });
    let down = false;
    const store = faulty(disk, (method, room) => down && method === "put" && room === "e", {
      late,
    });
    const queue = await new StoreQueues({ store, clock }).open("q", {
      ...DEFAULT_LIMITS,
      maxEvents: 2,
    });
    down = true;
    for (const i of [1, 2]) await assert.rejects(queue.push(testEvent(i)));
    down = false;
    assert.equal((await queue.size()).events, 0);
    await queue.push(testEvent(3));
    await queue.push(testEvent(4));
    await using taker = new Taker(queue);
    const claims = await taker.next(late ? 4 : 2);
    assert.deepEqual(claims.map(({ event }) => event.data), late ? [1, 2, 3, 4] : [3, 4]);
    for (const claim of claims) await claim.ack();
    assert.deepEqual(await queue.size(), { events: 0, bytes: 0 });
  }
});

Deno.test("store_queue: what a failed push left is found before its bucket is removed", async () => {
  const clock = new TestClock();
  const disk = new MemoryStore({ clock });
  let down = false;
  // Written, and at first nobody sees it.
  const late: (() => Promise<unknown>)[] = [];
  const store = new Proxy(disk, {
    get(target, name: keyof Store) {
      const method = (target[name] as (...args: unknown[]) => unknown).bind(target);
      if (name !== "put" || !down) return method;
      return (...args: unknown[]) => {
        late.push(async () => await method(...args));
        throw new FlowError("store.unavailable", "Cannot reach the store: down");
      };
    },
  });
  const queue = await new StoreQueues({ store, clock }).open("q");
  down = true;
  await assert.rejects(queue.push(testEvent("late")));
  down = false;
  await using taker = new Taker(queue);
  for (const i of numbers(1_023)) {
    await queue.push(testEvent(i));
    const [claim] = await taker.next(1);
    if (i === 1_022) await late[0]!();
    await claim!.ack();
  }
  const [claim] = await taker.next(1);
  assert.equal(claim!.event.data, "late");
  await claim!.ack();
  assert.equal((await queue.size()).events, 0);
  await clock.advance(1);
  assert.deepEqual(await keysOf(disk), []);
});

Deno.test("store_queue: a read that breaks off half-way loses nothing", async () => {
  const clock = new TestClock();
  const disk = new MemoryStore({ clock });
  let gets = 0;
  let saves = 0;
  const store = faulty(disk, (method, room) => {
    if (method === "get" && room === "e") return ++gets === 3;
    return method === "put" && room === "a" && ++saves === 2;
  });
  const queue = await new StoreQueues({ store, clock }).open("q");
  for (const i of numbers(5)) await queue.push(testEvent(i));
  const seen: unknown[] = [];
  for (const failures of [0, 1]) {
    await using taker = new Taker(queue);
    try {
      while (seen.length < 5) {
        const [claim] = await taker.next(1);
        seen.push(claim!.event.data);
        assert.equal(claim!.attempts, 1);
        await claim!.ack();
      }
    } catch (cause) {
      assert.deepEqual([(cause as FlowError).code, failures], ["store.unavailable", 0]);
    }
  }
  assert.deepEqual([seen, saves], [[0, 1, 2, 3, 4], 3]);
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

Deno.test("store_queue: an event that is long in coming keeps its place", async () => {
  const clock = new TestClock();
  const disk = new MemoryStore({ clock });
  const written = Promise.withResolvers<void>();
  const store = new Proxy(disk, {
    get(target, name: keyof Store) {
      const method = (target[name] as (...args: unknown[]) => unknown).bind(target);
      if (name !== "put") return method;
      return async (key: string[], value: Uint8Array, expiry: unknown) => {
        if (value.length > 10_000) await written.promise;
        return await method(key, value, expiry);
      };
    },
  });
  const queue = await new StoreQueues({ store, clock }).open("q");
  const slow = queue.push(testEvent("slow".repeat(10_000)));
  await queue.push(testEvent("quick"));
  await using taker = new Taker(queue);
  const taken = taker.next(2);
  await settle();
  written.resolve();
  await slow;
  assert.deepEqual((await taken).map(({ event }) => String(event.data).slice(0, 5)), [
    "slows",
    "quick",
  ]);
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
