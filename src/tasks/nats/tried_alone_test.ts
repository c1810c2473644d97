/** What a reader makes of messages that were under way when processes ended. */
import assert from "node:assert/strict";
import { settle, TestClock } from "../../core/clock.ts";
import { FlowError } from "../../core/errors.ts";
import type { JsonObject } from "../../flow/event.ts";
import { Tally } from "../../flow/tally.ts";
import { MemoryStore } from "../../store/memory.ts";
import type { IntakeOptions } from "./message_intake.ts";
import { failed, handOutput, streamMessage, taking } from "./testing.ts";

/** Two readers, one after the other, of a consumer that gives up after two deliveries. */
function suspecting() {
  const store = new MemoryStore({ clock: new TestClock() });
  const counts = (of: string) => new Tally(store, [of], "a");
  const letters: [number, string][] = [];
  const start = (options: Partial<IntakeOptions> = {}) => {
    const it = taking({
      maxDeliver: 2,
      untried: counts("untried"),
      alone: counts("alone"),
      deadLetter: ({ info }, { code }) => Promise.resolve(void letters.push([info.sequence, code])),
      ...options,
    });
    const output = handOutput();
    it.intake.start(output);
    const sequences = () =>
      output.emitted.map(({ event }) => (event.meta.nats as JsonObject).sequence);
    return { ...it, output, sequences };
  };
  return { letters, start };
}

Deno.test("what was under way when processes ended is tried alone, and given up for ending one so", async () => {
  const { letters, start } = suspecting();
  const one = start();
  one.intake.take(streamMessage({ sequence: 1 }));
  for (const sequence of [2, 3, 4]) one.intake.take(streamMessage({ sequence, deliveries: 3 }));
  await settle(20);
  assert.deepEqual(one.sequences(), [1]); // which is still under way
  one.output.emitted[0]!.end({ ok: true });
  await settle(20);
  one.intake.take(streamMessage({ sequence: 5 }));
  assert.deepEqual(one.sequences(), [1, 2]);
  one.output.emitted[1]!.end({ ok: true });
  await settle(20);
  assert.deepEqual(one.sequences(), [1, 2, 3]); // and that is the end of the process
  one.taken.close();

  const two = start();
  for (const sequence of [3, 4]) two.intake.take(streamMessage({ sequence, deliveries: 4 }));
  two.intake.take(streamMessage({ sequence: 5, deliveries: 2 }));
  await settle(20);
  two.output.emitted[0]!.end({ ok: true });
  await settle(20);
  two.output.emitted[1]!.end(failed("http.unavailable"));
  await two.intake.settled();
  assert.deepEqual(two.sequences(), [5, 4]);
  assert.deepEqual(letters, [[3, "nats.too_many_deliveries"], [4, "http.unavailable"]]);
  one.output.abort();
  two.taken.close();
});

Deno.test("a try alone that was cut short, or never began, does not count", async () => {
  const { letters, start } = suspecting();
  const one = start();
  for (const sequence of [1, 2]) one.intake.take(streamMessage({ sequence, deliveries: 3 }));
  await settle(20);
  assert.deepEqual(one.sequences(), [1]);
  one.output.abort();
  one.intake.stop();
  one.output.emitted[0]!.end(failed("delivery.stopped"));
  await one.intake.settled();
  assert.deepEqual(one.answers.sort(), ["1 -NAK", "2 -NAK"]);
  one.taken.close();

  const two = start();
  for (const sequence of [1, 2]) two.intake.take(streamMessage({ sequence, deliveries: 4 }));
  for (const n of [0, 1]) {
    await settle(20);
    two.output.emitted[n]!.end({ ok: true });
  }
  await two.intake.settled();
  assert.deepEqual([two.sequences(), letters], [[1, 2], []]);
  two.taken.close();
});

Deno.test("what ends nothing before it gets more holds up a try alone for half a minute", async () => {
  const { start } = suspecting();
  const it = start();
  it.intake.take(streamMessage({ sequence: 1 }));
  it.intake.take(streamMessage({ sequence: 2, deliveries: 3 }));
  await settle(20);
  it.intake.take(streamMessage({ sequence: 3 }));
  await it.clock.advance(29_999);
  assert.deepEqual(it.sequences(), [1]);
  await it.clock.advance(1);
  assert.deepEqual(it.sequences(), [1, 2]);
  await it.clock.advance(30_000);
  assert.deepEqual(it.sequences(), [1, 2, 3]);
  it.taken.close();
});

Deno.test("a reader that stops does not wait for a try alone", async () => {
  const { start } = suspecting();
  const it = start();
  it.intake.take(streamMessage({ sequence: 1 }));
  it.intake.take(streamMessage({ sequence: 2, deliveries: 3 }));
  await settle(20);
  it.intake.stop();
  await it.intake.settled();
  assert.deepEqual([it.sequences(), it.answers], [[1], ["2 -NAK"]]);
  it.output.abort();
  it.taken.close();
});

Deno.test("a try alone keeps the distance of throttle too", async () => {
  const { start } = suspecting();
  const it = start({ throttle: 1_000 });
  it.intake.take(streamMessage({ sequence: 1, deliveries: 3 }));
  await settle(20);
  await it.clock.advance(1_000);
  it.intake.take(streamMessage({ sequence: 2 }));
  it.output.emitted[0]!.end({ ok: true });
  await it.clock.advance(999);
  assert.deepEqual(it.sequences(), [1]);
  await it.clock.advance(1);
  assert.deepEqual(it.sequences(), [1, 2]);
  it.output.abort();
  it.intake.stop();
  it.taken.close();
});

Deno.test("a try alone that cannot be noted does not begin", async () => {
  const { start } = suspecting();
  const away = () => Promise.reject(new FlowError("store.unavailable", "Away"));
  const it = start({
    alone: { note: away, count: () => Promise.resolve(0) } as unknown as Tally,
  });
  it.intake.take(streamMessage({ deliveries: 3 }));
  await it.intake.settled();
  assert.deepEqual([it.sequences(), it.answers], [[], ['1 -NAK {"delay":3000000000}']]);
  assert.deepEqual(it.log.records.map(([text]) => text), [
    "warning Cannot note that a message is tried alone; it comes again",
  ]);
  it.taken.close();
});
