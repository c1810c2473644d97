import assert from "node:assert/strict";
import type { Data, FlowEvent } from "../../flow/event.ts";
import { type Claim, DEFAULT_LIMITS, MOST_CLAIMED, type Queue } from "../../flow/queue.ts";
import type { QueueLimits, Queues } from "../../flow/queue.ts";
import type { Store } from "../../flow/store.ts";
import { testEvent } from "../../flow/testing.ts";

/** Where a driver is tested. */
export interface QueueWorld extends AsyncDisposable {
  readonly queues: Queues;
  /** What a new process finds after this one was killed. */
  restarted(): Queues | Promise<Queues>;
  /** Lets so many milliseconds pass. */
  pass(ms: number): Promise<void>;
}

/** What every driver of `Queues` promises. `open` gives an empty world each time. */
export function testQueue(name: string, open: () => QueueWorld | Promise<QueueWorld>): void {
  const test: Test = (sentence, run) => {
    Deno.test(`${name}: ${sentence}`, async () => {
      await using world = await open();
      await run({ world, queue: await world.queues.open("orders") });
    });
  };
  testOrder(test);
  testSettling(test);
  testRestarts(test);
  testLimits(test);
  testNames(test);
}

interface Given {
  readonly world: QueueWorld;
  readonly queue: Queue;
}

type Test = (sentence: string, run: (given: Given) => Promise<void>) => void;

const limits = (some: Partial<QueueLimits>): QueueLimits => ({ ...DEFAULT_LIMITS, ...some });
const dataOf = (claims: readonly Claim[]) => claims.map(({ event }) => event.data);

/** Pushes events with these data, one after another. */
async function push(queue: Queue, ...data: readonly Data[]): Promise<void> {
  for (const one of data) await queue.push(testEvent(one));
}

/** From 0. */
export const numbers = (count: number) => Array.from({ length: count }, (_, i) => i);

/** All keys of a store, with `/` between their parts. */
export async function keysOf(store: Store): Promise<string[]> {
  return (await Array.fromAsync(store.list([]))).map(({ key }) => key.join("/"));
}

/** Takes so many claims, and stops taking. */
export async function take(queue: Queue, count: number): Promise<Claim[]> {
  await using taker = new Taker(queue, count);
  return await taker.next(count);
}

/** Takes until it is told to stop. */
export class Taker implements AsyncDisposable {
  readonly #end = new AbortController();
  readonly #claims: AsyncIterator<Claim>;
  #next: Promise<IteratorResult<Claim>> | null = null;

  constructor(queue: Queue, most?: number) {
    this.#claims = queue.take(this.#end.signal, most)[Symbol.asyncIterator]();
  }

  async next(count: number): Promise<Claim[]> {
    const claims: Claim[] = [];
    while (claims.length < count) {
      const { value, done } = await this.#asked();
      this.#next = null;
      if (done) assert.fail(`it ended after ${claims.length} of ${count} events`);
      claims.push(value);
    }
    return claims;
  }

  /** Whether there is nothing to take now, as far as `world` can tell. */
  async waits(world: QueueWorld): Promise<boolean> {
    const taken = this.#asked().then(() => false);
    return await Promise.race([taken, world.pass(100).then(() => true)]);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#end.abort();
    const last = await this.#next?.catch(() => null);
    if (last && !last.done) await last.value.giveBack();
    await this.#claims.return?.();
  }

  #asked(): Promise<IteratorResult<Claim>> {
    return this.#next ??= this.#claims.next();
  }
}

function testOrder(test: Test): void {
  test("an event comes out as it was pushed", async ({ queue }) => {
    const error = { code: "a.b", message: "no", task: "t", attempts: 3, time: "2030-01-01T00:00Z" };
    const events: FlowEvent[] = [
      testEvent({ id: 1, list: [null, true, "ä"] }, { subject: "in", id: "x", meta: { a: [1] } }),
      testEvent(new Uint8Array([0, 255, 7]), { error }),
      testEvent("text"),
      testEvent(null),
      testEvent("x".repeat(200_000)),
    ];
    for (const event of events) await queue.push({ ...event, timestamp: 1_234_567 });
    for (const [i, { event, attempts }] of (await take(queue, events.length)).entries()) {
      const { id, error, ...rest } = events[i]!;
      assert.deepEqual(event, { ...rest, id, error, timestamp: 1_234_567 });
      assert.equal(attempts, 1);
    }
  });

  test("the oldest comes first, also of many that are pushed at once", async ({ queue }) => {
    await Promise.all(numbers(2_500).map((i) => queue.push(testEvent(i))));
    await using taker = new Taker(queue);
    for (const i of numbers(2_500)) {
      const [claim] = await taker.next(1);
      assert.equal(claim!.event.data, i);
      await claim!.ack();
    }
  });

  test("who waits gets what is pushed later", async ({ queue }) => {
    const taken = take(queue, 2);
    await push(queue, "a", "b");
    assert.deepEqual(dataOf(await taken), ["a", "b"]);
  });

  test("several takers share the events, as far as each has room", async ({ queue }) => {
    await push(queue, "a", "b", "c", "d");
    await using one = new Taker(queue, 1);
    await using two = new Taker(queue, 3);
    const taken = [...await one.next(1), ...await two.next(3)];
    assert.deepEqual(dataOf(taken), ["a", "b", "c", "d"]);
  });

  test("a taker that was told to end does, also while it waits", async ({ queue, world }) => {
    const taker = new Taker(queue);
    assert.ok(await taker.waits(world));
    await taker[Symbol.asyncDispose]();
    await push(queue, "a");
    assert.deepEqual(dataOf(await take(queue, 1)), ["a"]);
  });
}

function testSettling(test: Test): void {
  test("what is acknowledged is gone, for good", async ({ queue, world }) => {
    await push(queue, "a", "b");
    const [first] = await take(queue, 1);
    await first!.ack();
    assert.deepEqual((await queue.size()).events, 1);
    const again = await (await world.restarted()).open("orders");
    const [second] = await take(again, 1);
    assert.equal(second!.event.data, "b");
    await second!.ack();
    assert.deepEqual(await again.size(), { events: 0, bytes: 0 });
  });

  test("what was not done comes again, counted", async ({ queue }) => {
    await push(queue, "a");
    await using taker = new Taker(queue);
    for (const attempts of [1, 2, 3]) {
      const [claim] = await taker.next(1);
      assert.deepEqual([claim!.event.data, claim!.attempts], ["a", attempts]);
      await claim!.nak(0);
    }
  });

  test("the key of an event is its own, over deliveries and restarts", async ({ queue, world }) => {
    await push(queue, "a", "b");
    const [a, b] = await take(queue, 2);
    assert.notEqual(a!.key, b!.key);
    await b!.nak(0);
    const again = await (await world.restarted()).open("orders");
    await using taker = new Taker(again);
    const claims = await taker.next(2);
    const keys = claims.map(({ key }) => key);
    assert.deepEqual(keys.toSorted(), [a!.key, b!.key].toSorted());
    for (const claim of claims) await claim.ack();
    assert.ok(await taker.waits(world)); // for more, having seen that nothing is left
    await world.pass(1);
    const empty = await (await world.restarted()).open("orders");
    await push(empty, "c");
    const [c] = await take(empty, 1);
    assert.ok(!keys.includes(c!.key));
  });

  test("what was not done comes after its delay, and others before it", async (given) => {
    const { queue, world } = given;
    await push(queue, "a", "b");
    await using taker = new Taker(queue);
    const [a] = await taker.next(1);
    await a!.nak(1_000);
    const [b] = await taker.next(1);
    assert.equal(b!.event.data, "b");
    const again = taker.next(1);
    await world.pass(1_000);
    assert.deepEqual((await again).map(({ event, attempts }) => [event.data, attempts]), [[
      "a",
      2,
    ]]);
  });

  test("the first answer of a claim counts", async ({ queue, world }) => {
    await push(queue, "a", "b");
    const [a, b] = await take(queue, 2);
    await a!.ack();
    await a!.nak(0);
    await a!.ack();
    await b!.nak(0);
    await b!.nak(0);
    await b!.ack();
    await using taker = new Taker(queue);
    assert.deepEqual(dataOf(await taker.next(1)), ["b"]);
    assert.ok(await taker.waits(world));
  });

  test("an event that is taken is nobody else's until its taker gives it back", async (given) => {
    const { queue, world } = given;
    await push(queue, "a");
    const [claim] = await take(queue, 1);
    await using taker = new Taker(queue);
    assert.ok(await taker.waits(world));
    await claim!.nak(0);
    assert.deepEqual(dataOf(await taker.next(1)), ["a"]);
  });

  test("what a taker fetched and did not take is there for others when it ends", async (given) => {
    const { queue } = given;
    await push(queue, "a", "b", "c");
    {
      await using taker = new Taker(queue, 10);
      await taker.next(1);
    }
    const claims = await take(queue, 2);
    assert.deepEqual(dataOf(claims).sort(), ["b", "c"]);
    assert.deepEqual(claims.map(({ attempts }) => attempts), [1, 1]);
  });

  test("what is given back comes again at once, and its delivery does not count", async (given) => {
    const { queue } = given;
    await push(queue, "a", "b");
    await using taker = new Taker(queue);
    const seen: number[][] = [];
    for (const counts of [false, true, false, false]) {
      const claims = await taker.next(2);
      seen.push(claims.map(({ attempts }) => attempts));
      await Promise.all(claims.map((claim) => counts ? claim.nak(0) : claim.giveBack()));
    }
    assert.deepEqual(seen, [[1, 1], [1, 1], [2, 2], [2, 2]]);
  });

  test("no more are taken while too many wait to be done", async ({ queue, world }) => {
    await Promise.all(numbers(MOST_CLAIMED + 1).map((i) => queue.push(testEvent(i))));
    await using taker = new Taker(queue);
    const claims = await taker.next(MOST_CLAIMED);
    await claims[0]!.nak(600_000);
    assert.ok(await taker.waits(world));
    await claims[1]!.ack();
    assert.deepEqual(dataOf(await taker.next(1)), [MOST_CLAIMED]);
  });
}

function testRestarts(test: Test): void {
  test("what a process had not done when it died comes again, counted", async (given) => {
    const { queue, world } = given;
    await push(queue, "a", "b");
    const [a] = await take(queue, 1);
    assert.deepEqual([a!.event.data, a!.attempts], ["a", 1]);
    const again = await (await world.restarted()).open("orders");
    const claims = await take(again, 2);
    assert.deepEqual(dataOf(claims).sort(), ["a", "b"]);
    assert.equal(claims.find(({ event }) => event.data === "a")!.attempts, 2);
  });

  test("what was given back does not count after a restart either", async ({ queue, world }) => {
    await push(queue, "a");
    const [claim] = await take(queue, 1);
    await claim!.giveBack();
    const again = await (await world.restarted()).open("orders");
    assert.deepEqual((await take(again, 1)).map(({ attempts }) => attempts), [1]);
  });

  test("a long queue is whole and in order after a restart", async ({ queue, world }) => {
    await Promise.all(numbers(2_500).map((i) => queue.push(testEvent(i))));
    const before = await queue.size();
    const again = await (await world.restarted()).open("orders");
    assert.deepEqual(await again.size(), before);
    await push(again, "last");
    await using taker = new Taker(again);
    for (const data of [...numbers(2_500), "last"]) {
      const [claim] = await taker.next(1);
      assert.equal(claim!.event.data, data);
      await claim!.ack();
    }
    assert.deepEqual(await again.size(), { events: 0, bytes: 0 });
  });
}

function testLimits(test: Test): void {
  test("a queue with too many events is full until one is done", async ({ queue, world }) => {
    await world.queues.open("orders", limits({ maxEvents: 2 }));
    await push(queue, "a", "b");
    await assert.rejects(push(queue, "c"), { code: "queue.full", remedy: "retry" });
    const [a] = await take(queue, 1);
    await assert.rejects(push(queue, "c"), { code: "queue.full" });
    await a!.ack();
    await push(queue, "c");
    assert.deepEqual(dataOf(await take(queue, 2)).sort(), ["b", "c"]);
  });

  test("a queue with too many bytes is full until one is done", async ({ queue, world }) => {
    await world.queues.open("orders", limits({ maxBytes: 25_000 }));
    await push(queue, "a".repeat(10_000), "b".repeat(10_000));
    await assert.rejects(push(queue, "c".repeat(10_000)), { code: "queue.full" });
    const [a] = await take(queue, 1);
    await a!.ack();
    await push(queue, "c".repeat(10_000));
  });

  test("many pushes at once do not get past the limits", async ({ queue, world }) => {
    await world.queues.open("orders", limits({ maxEvents: 10 }));
    const pushes = numbers(30).map((i) => queue.push(testEvent(i)));
    const results = await Promise.allSettled(pushes);
    assert.equal(results.filter(({ status }) => status === "fulfilled").length, 10);
    assert.equal((await queue.size()).events, 10);
  });

  test("an event that would never fit is refused for good", async ({ queue, world }) => {
    await world.queues.open("orders", limits({ maxBytes: 10_000 }));
    await assert.rejects(push(queue, "a".repeat(10_000)), {
      code: "queue.event_too_large",
      remedy: "event",
    });
  });

  test("a full queue may drop its oldest", async ({ queue, world }) => {
    await world.queues.open("orders", limits({ maxEvents: 3, whenFull: "drop_oldest" }));
    await push(queue, 1, 2, 3, 4, 5);
    assert.equal((await queue.size()).events, 3);
    assert.deepEqual(dataOf(await take(queue, 3)), [3, 4, 5]);
  });

  test("limits can be changed, and stay when nobody names any", async ({ queue, world }) => {
    await world.queues.open("orders", limits({ maxEvents: 1 }));
    await push(queue, 1);
    await world.queues.open("orders");
    await assert.rejects(push(queue, 2), { code: "queue.full" });
    await world.queues.open("orders", limits({ maxEvents: 2 }));
    await push(queue, 2);
  });
}

function testNames(test: Test): void {
  test("each name is a queue of its own, the same for all who open it", async (given) => {
    const { queue, world: { queues } } = given;
    await push(await queues.open("orders_dead"), "other");
    await push(await queues.open("orders"), "a");
    assert.equal((await queue.size()).events, 1);
    assert.deepEqual(dataOf(await take(queue, 1)), ["a"]);
  });

  test("a name that not every store can keep is refused", async ({ world: { queues } }) => {
    for (const name of ["", "a.b", "a b", "ä", "a/b", "*", "x".repeat(101)]) {
      await assert.rejects(queues.open(name), { code: "queue.name_invalid", remedy: "config" });
    }
  });
}
