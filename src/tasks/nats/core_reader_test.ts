import type { Msg } from "@nats-io/nats-core";
import assert from "node:assert/strict";
import { settle, TestClock } from "../../core/clock.ts";
import { seededRandom } from "../../core/random.ts";
import { CoreReader, type CoreReaderOptions } from "./core_reader.ts";
import type { SourceOutput } from "../../flow/task.ts";
import { handLease, handOutput, headersOf, keptLog } from "./testing.ts";

const encoder = new TextEncoder();

function message(text: string): Msg {
  return { subject: "a", data: encoder.encode(text) } as unknown as Msg;
}

async function listening(output: SourceOutput, options: Partial<CoreReaderOptions> = {}) {
  const hand = handLease();
  const log = keptLog();
  const reader = new CoreReader({
    lease: hand.lease,
    clock: new TestClock(),
    random: seededRandom(1),
    log,
    subject: "a",
    queue: "g",
    payload: "auto",
    respond: false,
    maxPending: 100_000,
    maxPendingBytes: 1_000_000,
    headers: () => headersOf({}),
    ...options,
  });
  let ended = false;
  const running = reader.run(output).then(() => ended = true);
  await settle();
  return {
    ...hand,
    log,
    running,
    get ended() {
      return ended;
    },
  };
}

Deno.test("a reader that stops emits all that has come before it ends", async () => {
  const rooms: (() => void)[] = [];
  const output = handOutput({ pause: () => new Promise<void>((resolve) => rooms.push(resolve)) });
  const it = await listening(output);
  for (const text of ["1", "2"]) it.come(message(text));
  it.last(message("3"));
  output.abort();
  await settle();
  for (const open of [1, 2]) {
    assert.equal(output.emitted.length, open);
    assert.equal(it.ended, false);
    rooms[open - 1]!();
    await settle();
  }
  assert.deepEqual(output.emitted.map(({ event }) => event.data), [1, 2, 3]);
  await it.running;
});

Deno.test("deliveries that end at once do not pile up on the stack", async () => {
  const room = Promise.withResolvers<void>();
  const count = 50_000;
  let seen = 0;
  const output: SourceOutput = {
    ...handOutput(),
    emit(_, end) {
      end({ ok: true });
      return ++seen === 1 ? room.promise : undefined;
    },
  };
  const it = await listening(output);
  for (let n = 0; n < count; n++) it.come(message("1"));
  assert.equal(seen, 1);
  room.resolve();
  await settle();
  assert.equal(seen, count);
});

Deno.test("more bytes than may wait are dropped, but never the only message", async () => {
  const output = handOutput({ pause: () => new Promise<void>(() => {}) });
  const it = await listening(output, { maxPendingBytes: 10 });
  for (const size of [1, 50, 1]) it.come(message("x".repeat(size)));
  assert.deepEqual(it.log.records.map(([text, { dropped }]) => [text, dropped]), [
    ["warning Messages were dropped: they come faster than the flow can take them", 1],
  ]);
});
