import assert from "node:assert/strict";
import { settle, TestClock } from "../../core/clock.ts";
import { FlowError } from "../../core/errors.ts";
import type { JsonObject } from "../../flow/event.ts";
import { Tally } from "../../flow/tally.ts";
import { MemoryStore } from "../../store/memory.ts";
import { failed, handOutput, streamMessage, taking } from "./testing.ts";

Deno.test("each message is answered by what became of it", () => {
  const it = taking();
  const output = handOutput();
  it.intake.start(output);
  for (const sequence of [1, 2, 3, 4]) {
    it.intake.take(streamMessage({ sequence, deliveries: sequence }));
  }
  const [done, fails, stopped, asked] = output.emitted;
  done!.end({ ok: true });
  fails!.end(failed("http.unavailable"));
  stopped!.end(failed("delivery.stopped"));
  asked!.end(failed("http.status_retry", { retryAfter: 60_000 }));
  assert.deepEqual(it.answers, [
    "1 +ACK",
    '2 -NAK {"delay":2000000000}',
    "3 -NAK",
    '4 -NAK {"delay":60000000000}',
  ]);
  assert.equal(it.rooms, 4);
  assert.equal(it.taken.count, 0);
  it.taken.close();
});

Deno.test("what came too often is given up before it is seen, what fails last right after", async () => {
  const letters: [number, string][] = [];
  const it = taking({
    maxDeliver: 3,
    deadLetter: (taken, { code }) =>
      Promise.resolve(void letters.push([taken.info.sequence, code])),
  });
  const output = handOutput();
  it.intake.start(output);
  it.intake.take(streamMessage({ sequence: 1, deliveries: 4 }));
  it.intake.take(streamMessage({ sequence: 2, deliveries: 3 }));
  it.intake.take(streamMessage({ sequence: 3, deliveries: 2 }));
  assert.deepEqual(output.emitted.map(({ event }) => event.meta.nats), [
    { subject: "a", stream: "S", sequence: 2, deliveries: 3 },
    { subject: "a", stream: "S", sequence: 3, deliveries: 2 },
  ]);
  for (const { end } of output.emitted) end(failed("http.unavailable"));
  await it.intake.settled();
  assert.deepEqual(letters, [[1, "nats.too_many_deliveries"], [2, "http.unavailable"]]);
  assert.deepEqual(it.answers.sort(), [
    "1 +TERM nats.too_many_deliveries",
    "2 +TERM http.unavailable",
    '3 -NAK {"delay":2000000000}',
  ]);
  it.taken.close();
});

Deno.test("what was cut short goes back at once, also after the last delivery", () => {
  const it = taking({
    maxDeliver: 1,
    deadLetter: () => Promise.reject(new Error("not asked for")),
  });
  const output = handOutput();
  it.intake.start(output);
  for (const [sequence, code] of ["delivery.stopped", "cluster.fenced"].entries()) {
    it.intake.take(streamMessage({ sequence: sequence + 1 }));
    output.emitted[sequence]!.end(failed(code));
  }
  assert.deepEqual(it.answers, ["1 -NAK", "2 -NAK"]);
  it.taken.close();
});

Deno.test("deliveries of what was given back untried do not count", async () => {
  const letters: number[] = [];
  const untried = new Tally(new MemoryStore({ clock: new TestClock() }), ["d"], "a");
  const it = taking({
    maxDeliver: 1,
    untried,
    deadLetter: ({ info }) => Promise.resolve(void letters.push(info.sequence)),
  });
  const full = handOutput({ pause: () => new Promise(() => {}) });
  it.intake.start(full);
  for (const sequence of [1, 2]) it.intake.take(streamMessage({ sequence }));
  full.abort();
  it.intake.stop();
  full.emitted[0]!.end(failed("delivery.stopped"));
  await it.intake.settled();
  assert.deepEqual(it.answers.splice(0).sort(), ["1 -NAK", "2 -NAK"]);

  const next = taking({ ...it.intake.options, taken: it.taken });
  const output = handOutput();
  next.intake.start(output);
  for (const sequence of [1, 2, 3]) next.intake.take(streamMessage({ sequence, deliveries: 2 }));
  await next.intake.settled();
  assert.deepEqual(output.emitted.map(({ event }) => (event.meta.nats as JsonObject).sequence), [
    1,
    2,
  ]);
  assert.deepEqual(letters, [3]);
  output.emitted[0]!.end(failed("http.unavailable"));
  await next.intake.settled();
  assert.deepEqual(letters, [3, 1]);
  it.taken.close();
});

Deno.test("a failure before the last delivery that counts comes again", async () => {
  const untried = new Tally(new MemoryStore({ clock: new TestClock() }), ["d"], "a");
  await untried.note(["1@1700000000000000000"]);
  const it = taking({ maxDeliver: 2, untried });
  const output = handOutput();
  it.intake.start(output);
  it.intake.take(streamMessage({ deliveries: 2 }));
  output.emitted[0]!.end(failed("http.unavailable"));
  await it.intake.settled();
  assert.deepEqual(it.answers, ['1 -NAK {"delay":2000000000}']);
  it.taken.close();
});

Deno.test("a store that is away keeps no message here, and lets none be given up", async () => {
  const away = () => Promise.reject(new FlowError("store.unavailable", "Away"));
  const it = taking({ maxDeliver: 1, untried: { note: away, count: away } as unknown as Tally });
  const output = handOutput();
  it.intake.start(output);
  it.intake.take(streamMessage({ sequence: 1, deliveries: 2 }));
  it.intake.take(streamMessage({ sequence: 2 }));
  output.emitted[0]!.end(failed("cluster.fenced"));
  await it.intake.settled();
  assert.deepEqual(it.answers.sort(), ['1 -NAK {"delay":2000000000}', "2 -NAK"]);
  assert.deepEqual(it.log.records.map(([text]) => text), [
    "warning Cannot tell how often a message was tried; it comes again",
    "warning Messages that were not tried count as delivered",
  ]);
  it.taken.close();
});

Deno.test("only what is the event's own fault is given up at once", async () => {
  const it = taking({ termPermanent: true });
  const output = handOutput();
  it.intake.start(output);
  const codes = [
    "event.field_invalid",
    "http.status",
    "config.x",
    "task.failed",
    "delivery.timeout",
    "http.unavailable",
  ];
  for (const [sequence, code] of codes.entries()) {
    it.intake.take(streamMessage({ sequence: sequence + 1 }));
    output.emitted[sequence]!.end(failed(code));
  }
  await it.intake.settled();
  assert.deepEqual(it.answers.map((answer) => answer.slice(2, 7)).sort(), [
    "+TERM",
    "+TERM",
    "-NAK ",
    "-NAK ",
    "-NAK ",
    "-NAK ",
  ]);
  assert.deepEqual(it.log.records.map(([text]) => text), [
    "error A message is given up; no dead_letter_subject is set",
    "error A message is given up; no dead_letter_subject is set",
  ]);
  it.taken.close();
});

Deno.test("a dead letter that is not stored keeps its message", async () => {
  const it = taking({
    maxDeliver: 1,
    deadLetter: () => Promise.reject(new FlowError("nats.no_stream", "Nobody takes it")),
  });
  it.intake.start(handOutput());
  it.intake.take(streamMessage({ deliveries: 2 }));
  await it.intake.settled();
  assert.deepEqual(it.answers, ['1 -NAK {"delay":2000000000}']);
  const [[text, fields]] = it.log.records as [[string, Record<string, unknown>]];
  assert.equal(text, "error A message was not stored as a dead letter and comes again");
  assert.equal(fields.failure, "Nobody takes it");
  it.taken.close();
});

Deno.test("while a dead letter is on its way the message stays ours", async () => {
  const stored = Promise.withResolvers<void>();
  const it = taking({ maxDeliver: 1, deadLetter: () => stored.promise });
  it.intake.start(handOutput());
  it.intake.take(streamMessage({ deliveries: 2 }));
  await it.clock.advance(20_000);
  assert.deepEqual(it.answers, ["1 +WPI"]);
  stored.resolve();
  await it.intake.settled();
  assert.deepEqual(it.answers, ["1 +WPI", "1 +TERM nats.too_many_deliveries"]);
  it.taken.close();
});

Deno.test("nothing is emitted while the window is full; what waits goes back when it stops", async () => {
  const it = taking();
  const room = Promise.withResolvers<void>();
  const output = handOutput({ pause: () => room.promise });
  it.intake.start(output);
  for (const sequence of [1, 2, 3]) it.intake.take(streamMessage({ sequence }));
  assert.equal(output.emitted.length, 1);
  output.abort();
  it.intake.stop();
  assert.deepEqual(it.answers, ["2 -NAK", "3 -NAK"]);
  it.intake.take(streamMessage({ sequence: 4 }));
  room.resolve();
  await settle();
  assert.equal(output.emitted.length, 1);
  output.emitted[0]!.end({ ok: true });
  assert.deepEqual(it.answers, ["2 -NAK", "3 -NAK", "4 -NAK", "1 +ACK"]);
  it.taken.close();
});

Deno.test("with throttle events keep their distance", async () => {
  const it = taking({ throttle: 1_000 });
  const output = handOutput();
  it.intake.start(output);
  for (const sequence of [1, 2, 3]) it.intake.take(streamMessage({ sequence }));
  assert.equal(output.emitted.length, 1);
  await it.clock.advance(999);
  assert.equal(output.emitted.length, 1);
  await it.clock.advance(1);
  assert.equal(output.emitted.length, 2);
  await it.clock.advance(1_000);
  assert.equal(output.emitted.length, 3);
  it.intake.stop();
  it.taken.close();
});

Deno.test("what is not JSON where it has to be goes to the error branch, as bytes", () => {
  const it = taking({ payload: "json" });
  const output = handOutput();
  it.intake.start(output);
  it.intake.take(streamMessage({ data: "plain", headers: { "Nats-Msg-Id": "m" } }));
  const [one] = output.emitted;
  assert.equal((one!.cause as FlowError).code, "event.not_json");
  assert.deepEqual(one!.event.data, new TextEncoder().encode("plain"));
  assert.equal(one!.event.id, "m");
  one!.end({ ok: true });
  assert.deepEqual(it.answers, ["1 +ACK"]);
  it.taken.close();
});

Deno.test("what no consumer sent is no message", () => {
  const it = taking();
  const output = handOutput();
  it.intake.start(output);
  it.intake.take({ ...streamMessage(), reply: "_INBOX.x" });
  assert.equal(output.emitted.length + it.taken.count, 0);
});
