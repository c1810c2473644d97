import assert from "node:assert/strict";
import { settle, TestClock } from "../../core/clock.ts";
import { FlowError } from "../../core/errors.ts";
import { DEFAULT_LIMITS } from "../../flow/queue.ts";
import type { Store } from "../../flow/store.ts";
import { testEvent } from "../../flow/testing.ts";
import { MemoryStore } from "../memory.ts";
import { StoreQueues } from "./store_queue.ts";
import { keysOf, numbers, type QueueWorld, take, Taker } from "./testing.ts";

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
  await assert.rejects(claims[1]!.giveBack(), { code: "store.unavailable" });
  for (const claim of claims.slice(2)) await claim.nak(0);
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
