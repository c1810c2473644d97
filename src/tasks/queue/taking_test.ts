/** What becomes of events that were under way when processes ended. */
import assert from "node:assert/strict";
import { settle } from "../../core/clock.ts";
import type { Store } from "../../flow/store.ts";
import { testEvent } from "../../flow/testing.ts";
import { take } from "../../store/queue/testing.ts";
import { keepingLog } from "../core/testing.ts";
import { queueSubscribe } from "./queue_subscribe.ts";
import { QueueTestWorld, Target, task } from "./testing.ts";

/** A world where two processes ended with these events under way. */
async function survived(...data: string[]): Promise<QueueTestWorld> {
  const world = new QueueTestWorld();
  const queue = await world.queue("q");
  for (const one of data) await queue.push(testEvent(one));
  for (const attempts of [1, 2]) {
    for (const claim of await take(queue, data.length)) {
      assert.equal(claim.attempts, attempts);
      await claim.nak(0);
    }
  }
  return world;
}

/** Gives an event up after two deliveries; every event stays under way until `next`. */
async function taking(world: QueueTestWorld) {
  const target = new Target();
  const log = keepingLog();
  let gate = Promise.withResolvers<void>();
  target.gate = gate.promise;
  const source = task(queueSubscribe, { queue: "q", max_deliver: 2 });
  const run = await world.start([source, target.task()], { log });
  const next = async () => {
    const { resolve } = gate;
    gate = Promise.withResolvers();
    target.gate = gate.promise;
    resolve();
    await settle(20);
  };
  return { target, run, log, next };
}

const deadLetters = async (world: QueueTestWorld) =>
  (await world.contents("q_dead")).map(({ data, error }) => [data, error!.code]);

Deno.test("what was under way when processes ended is tried alone, and given up for ending one so", async () => {
  await using world = await survived("a", "deadly", "b");
  const one = await taking(world);
  assert.deepEqual(one.target.data, ["a"]); // and nothing beside it
  await one.next();
  assert.deepEqual(one.target.data, ["a", "deadly"]); // and that is the end of the process
  world.restart();
  const two = await taking(world);
  assert.deepEqual(two.target.data, ["b"]);
  assert.deepEqual(await deadLetters(world), [["deadly", "queue.deliveries_exceeded"]]);
  await two.next();
  assert.equal((await (await world.queue("q")).size()).events, 0);
});

Deno.test("a try alone waits for what is under way, and what comes later waits for it", async () => {
  await using world = await survived("suspect");
  const queue = await world.queue("q");
  const [suspect] = await take(queue, 1);
  await queue.push(testEvent("first"));
  const { target, next } = await taking(world);
  await suspect!.nak(0);
  await queue.push(testEvent("last"));
  await settle(20);
  assert.deepEqual(target.data, ["first"]);
  await next();
  assert.deepEqual(target.data, ["first", "suspect"]);
  await next();
  assert.deepEqual(target.data, ["first", "suspect", "last"]);
  await next();
});

Deno.test("a try alone that was cut short does not count", async () => {
  await using world = await survived("innocent");
  for (let reload = 0; reload < 3; reload++) {
    const { target, run } = await taking(world);
    assert.deepEqual([target.data, target.attempts], [["innocent"], [3]]);
    await world.stop(run);
    await settle(20);
  }
  const { target, next } = await taking(world);
  assert.deepEqual(target.data, ["innocent"]);
  await next();
  assert.deepEqual(await deadLetters(world), []);
});

Deno.test("a try alone that fails is given up with what failed", async () => {
  await using world = await survived("bad");
  const { target, next } = await taking(world);
  target.fails = () => new Error("no");
  await next();
  assert.deepEqual(await deadLetters(world), [["bad", "task.failed"]]);
});

Deno.test("a try alone that cannot be noted does not begin, and the event comes again", async () => {
  await using world = await survived("suspect");
  const { store } = world;
  let away = true;
  const flaky = (work: () => unknown) => away ? Promise.reject(new Error("away")) : work();
  world.store = new Proxy(store, {
    get: (_, name: keyof Store) =>
      name === "create"
        ? (...args: Parameters<Store["create"]>) => flaky(() => store.create(...args))
        : Reflect.get(store, name).bind(store),
  });
  const { target, log, next } = await taking(world);
  assert.deepEqual(target.data, []);
  assert.equal(log.lines.filter(([level]) => level === "error").length, 1);
  away = false;
  await world.clock.advance(60_000);
  assert.deepEqual(target.data, ["suspect"]);
  await next();
});
