import assert from "node:assert/strict";
import { TestClock } from "../../core/clock.ts";
import type { Data } from "../../flow/event.ts";
import { testEvent } from "../../flow/testing.ts";
import { buffer } from "./buffer.ts";
import { findingsOf, startCollector } from "./testing.ts";

async function start(config: unknown) {
  const clock = new TestClock();
  const { collector, batches, close } = await startCollector(buffer, config, clock);
  const add = (data: Data) => {
    const held = { event: testEvent(data, { id: "7", meta: { of: JSON.stringify(data) } }) };
    collector.add(held);
    return held;
  };
  const data = () => batches.map(({ event }) => event.data);
  return { clock, collector, batches, data, add, close };
}

const batch = (batch: unknown[], flush_reason: string, more: object = {}) => ({
  batch,
  batch_size: batch.length,
  flush_reason,
  ...more,
});

Deno.test("buffer counts its timeout from the first event of a batch", async () => {
  const { clock, add, data } = await start({ size: 10, timeout: "5s" });
  await clock.advance(60_000);
  add(1);
  await clock.advance(4_000);
  add(2);
  await clock.advance(999);
  assert.deepEqual(data(), []);
  await clock.advance(1);
  assert.deepEqual(data(), [batch([1, 2], "timeout")]);
});

Deno.test("buffer waits thirty seconds when no timeout or null is given", async () => {
  for (const timeout of [undefined, null]) {
    const { clock, add, data } = await start({ size: 10, timeout });
    add(1);
    await clock.advance(29_999);
    assert.deepEqual(data(), []);
    await clock.advance(1);
    assert.deepEqual(data(), [batch([1], "timeout")]);
  }
});

Deno.test("a flush by size leaves no timer behind that could cut the next batch short", async () => {
  const { clock, add, data } = await start({ size: 2, timeout: "5s" });
  add(1);
  await clock.advance(4_000);
  add(2);
  add(3);
  await clock.advance(4_000);
  assert.deepEqual(data(), [batch([1, 2], "size")]);
  await clock.advance(1_000);
  assert.deepEqual(data()[1], batch([3], "timeout"));
  assert.equal(clock.pending, 0);
});

Deno.test("a buffer of size 1 emits each event by itself, with and without keys", async () => {
  const plain = await start({ size: 1 });
  plain.add(1);
  plain.add(2);
  assert.deepEqual(plain.data(), [batch([1], "size"), batch([2], "size")]);
  const keyed = await start({ size: 1, partition_key: "{{event.data.k}}" });
  keyed.add({ k: "a" });
  assert.deepEqual(keyed.data(), [batch([{ k: "a" }], "size", { partition_key: "a" })]);
});

Deno.test("buffer keeps a batch per key, each with a timeout of its own", async () => {
  const { clock, add, data } = await start({
    size: 2,
    timeout: "5s",
    partition_key: "{{event.data.k}}",
  });
  add({ k: "a", n: 1 });
  await clock.advance(1_000);
  add({ k: "b", n: 2 });
  add({ k: "b", n: 3 });
  add({ k: "", n: 4 });
  await clock.advance(4_000);
  assert.deepEqual(data(), [
    batch([{ k: "b", n: 2 }, { k: "b", n: 3 }], "size", { partition_key: "b" }),
    batch([{ k: "a", n: 1 }], "timeout", { partition_key: "a" }),
  ]);
  await clock.advance(1_000);
  assert.deepEqual(data()[2], batch([{ k: "", n: 4 }], "timeout", { partition_key: "" }));
  assert.equal(clock.pending, 0);
});

Deno.test("an event without its partition key fails alone, and the buffer goes on", async () => {
  const { add, data } = await start({ size: 2, partition_key: "{{event.data.k}}" });
  add({ k: "a" });
  assert.throws(() => add({}), { code: "template.missing_path" });
  add({ k: "a" });
  assert.deepEqual(data(), [batch([{ k: "a" }, { k: "a" }], "size", { partition_key: "a" })]);
});

Deno.test("buffer emits before a batch grows beyond its bytes", async () => {
  const { add, data, close } = await start({ bytes: 10 });
  add("abc"); // 5 characters of JSON
  add("de"); // 9
  add("f"); // would be 12
  assert.deepEqual(data(), [batch(["abc", "de"], "bytes")]);
  add("ghijk"); // exactly 10
  assert.deepEqual(data()[1], batch(["f", "ghijk"], "bytes"));
  await close();
});

Deno.test("an event larger than the bytes of a batch makes a batch of its own", async () => {
  const { add, data } = await start({ bytes: 10 });
  add(1);
  add("much longer than that");
  assert.deepEqual(data(), [batch([1], "bytes"), batch(["much longer than that"], "bytes")]);
});

Deno.test("bytes in a batch appear and count as base64", async () => {
  const { add, data } = await start({ bytes: 8 });
  add(new Uint8Array([1, 2, 3]));
  add(new Uint8Array([4]));
  assert.deepEqual(data(), [batch(["AQID", "BA=="], "bytes")]);
});

Deno.test("a batch has the meta of its first event and the members it was made of", async () => {
  const { add, batches } = await start({ size: 2 });
  const held = [add(1), add(2)];
  const { event, members } = batches[0]!;
  assert.deepEqual(members, held);
  assert.deepEqual([event.subject, event.id, event.meta], [
    "buffer",
    undefined,
    held[0]!.event.meta,
  ]);
});

Deno.test("a dropped event leaves its batch, and takes its bytes with it", async () => {
  const { collector, add, data } = await start({ size: 2, bytes: 100 });
  const first = add("x".repeat(90));
  const kept = { event: testEvent(1) };
  collector.add(kept);
  collector.drop(first);
  collector.drop(kept);
  assert.deepEqual(data(), [batch(["x".repeat(90), 1], "size")]);

  const three = await start({ size: 3, bytes: 100 });
  three.add(1);
  three.collector.drop(three.add("x".repeat(90)));
  three.add("y".repeat(90));
  three.add(2);
  assert.deepEqual(three.data(), [batch([1, "y".repeat(90), 2], "size")]);
});

Deno.test("the last event that is dropped takes the timer with it", async () => {
  const { clock, collector, add, data } = await start({ size: 9 });
  const held = [add(1), add(2)];
  collector.drop(held[0]!);
  assert.equal(clock.pending, 1);
  collector.drop(held[1]!);
  assert.equal(clock.pending, 0);
  await clock.advance(60_000);
  assert.deepEqual(data(), []);
});

Deno.test("buffer emits everything when the engine asks, with the engine's reason", async () => {
  const { clock, collector, add, data } = await start({
    size: 9,
    partition_key: "{{event.data}}",
  });
  add("a");
  add("b");
  collector.flush("shutdown");
  collector.flush("shutdown");
  assert.deepEqual(data(), [
    batch(["a"], "shutdown", { partition_key: "a" }),
    batch(["b"], "shutdown", { partition_key: "b" }),
  ]);
  assert.equal(clock.pending, 0);
});

Deno.test("flush_on_completion emits the batches of a delivery that waits for nothing else", async () => {
  const { collector, add, data, close } = await start({
    size: 9,
    partition_key: "{{event.data}}",
    flush_on_completion: true,
  });
  const held = [add("a"), add("a")];
  add("b");
  collector.completed!(held);
  assert.deepEqual(data(), [batch(["a", "a"], "completion", { partition_key: "a" })]);
  await close();
});

Deno.test("buffer does not flush on completion unless asked", async () => {
  assert.equal((await start({ size: 9 })).collector.completed, undefined);
});

Deno.test("an event that comes while a batch is emitted starts the next batch", async () => {
  const clock = new TestClock();
  const { collector, batches, close } = await startCollector(buffer, { size: 1 }, clock);
  const { batches: seen } = { batches };
  const original = seen.push.bind(seen);
  let again = true;
  seen.push = (one) => {
    if (again) {
      again = false;
      collector.add({ event: testEvent(2) });
    }
    return original(one);
  };
  collector.add({ event: testEvent(1) });
  assert.deepEqual(seen.map(({ members }) => members.length), [1, 1]);
  await close();
});

Deno.test("a buffer that ended leaves no timers", async () => {
  const { clock, add, close } = await start({ size: 2 });
  add(1);
  await close();
  assert.equal(clock.pending, 0);
});

Deno.test("buffer tells how long it keeps an event, and wants one limit of its own", async () => {
  assert.equal(buffer.holds!({ timeout: 5_000, flush_on_completion: false }), 5_000);
  assert.equal(buffer.holds!({ timeout: null, flush_on_completion: false }), 30_000);
  assert.deepEqual(await findingsOf(buffer, { partition_key: "k" }), [
    'config.missing_key Expected "size", "bytes" or "timeout"',
  ]);
  for (const config of [{ size: 1 }, { bytes: "1KiB" }, { timeout: "1s" }]) {
    assert.deepEqual(await findingsOf(buffer, config), []);
  }
});

Deno.test("a batch that was flushed while another one left is not flushed again", async () => {
  const { collector, batches, data, add } = await start({
    size: 2,
    partition_key: "{{event.data.key}}",
  });
  add({ key: "a" });
  add({ key: "b" });
  // The first batch to leave brings two more events of the other key, as a source does that waited.
  const push = batches.push.bind(batches);
  batches.push = (...left) => {
    batches.push = push;
    push(...left);
    add({ key: "b" });
    add({ key: "b" });
    return batches.length;
  };
  collector.flush("shutdown");
  collector.flush("shutdown");
  assert.deepEqual(
    data().map((one) => [
      (one as { partition_key: string }).partition_key,
      (one as { batch_size: number }).batch_size,
    ]),
    [["a", 1], ["b", 2], ["b", 1]],
  );
});
