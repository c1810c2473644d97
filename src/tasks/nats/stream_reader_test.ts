import assert from "node:assert/strict";
import { settle, TestClock } from "../../core/clock.ts";
import { silentLog } from "../../core/log.ts";
import { seededRandom } from "../../core/random.ts";
import type { SourceOutput } from "../../flow/task.ts";
import { type ReaderOptions, StreamReader } from "./stream_reader.ts";
import { handLease, handOutput, streamMessage } from "./testing.ts";

/** A reader against a server made by hand, where stream and consumer are as they should be. */
async function reading(output: SourceOutput, options: Partial<ReaderOptions> = {}) {
  const hand = handLease();
  const clock = new TestClock();
  const looked: string[] = [];
  const manager = {
    streams: {
      async *names() {
        yield "S";
      },
    },
    consumers: {
      info(stream: string, name: string) {
        looked.push(`${stream} ${name}`);
        const config = {
          ack_policy: "explicit",
          filter_subject: "a",
          ack_wait: 30e9,
          max_ack_pending: 100,
        };
        return Promise.resolve({ config });
      },
    },
  };
  const reader = new StreamReader({
    lease: hand.lease,
    manager: manager as never,
    createInbox: () => "in",
    clock,
    random: seededRandom(1),
    log: silentLog,
    stream: undefined,
    consumer: {
      name: "d",
      own: false,
      subject: "a",
      ackWait: 30_000,
      maxAckPending: 100,
      maxWaiting: undefined,
    },
    batch: undefined,
    delay: 0,
    intake: {
      payload: "auto",
      throttle: 0,
      maxDeliver: undefined,
      termPermanent: false,
      delay: () => 0,
      deadLetter: null,
    },
    ...options,
  });
  let ended: unknown = null;
  const running = reader.run(output).then(() => ended = "done", (cause) => ended = cause);
  // JetStream is asked about by way of a module that is loaded only then.
  for (let n = 0; n < 200 && looked.length === 0; n++) await settle();
  assert.deepEqual([looked.length, ended], [1, null]);
  await settle();
  return {
    ...hand,
    clock,
    looked,
    reader,
    running,
    get ended() {
      return ended as Error | "done" | null;
    },
    requests: () =>
      hand.published.filter(({ subject }) => subject === "$JS.API.CONSUMER.MSG.NEXT.S.d")
        .map(({ text }) => JSON.parse(text) as { batch: number; max_bytes: number }),
    answers: () =>
      hand.published.filter(({ subject }) => subject.startsWith("$JS.ACK"))
        .map(({ subject, text }) => `${subject.split(".")[5]} ${text}`),
  };
}

Deno.test("what is asked for fits into the window of the flow, events and bytes", async () => {
  const output = handOutput();
  const it = await reading({ ...output, window: 10, windowBytes: 20_000 });
  const shown = () => it.requests().map(({ batch, max_bytes }) => [batch, max_bytes]);
  assert.deepEqual(shown(), [[3, 5_000], [3, 5_000], [3, 5_000], [1, 5_000]].slice(0, 3));
  for (let sequence = 1; sequence <= 9; sequence++) {
    it.come(streamMessage({ sequence, data: new Uint8Array(1_500) }));
  }
  // Nine are here, so one is left to ask for, with what they leave of the bytes.
  assert.deepEqual(shown().slice(3), [[1, 5_000]]);
  output.abort();
  await it.running;
  await it.reader.close();
});

Deno.test("max_messages bounds a single request", async () => {
  const output = handOutput();
  const it = await reading({ ...output, window: 10, windowBytes: 20_000 }, { batch: 5 });
  assert.deepEqual(it.requests().map(({ batch }) => batch), [5, 5]);
  output.abort();
  await it.running;
  await it.reader.close();
});

Deno.test("a reader that stops gives back what waits at once, and what still comes", async () => {
  const room = Promise.withResolvers<void>();
  const output = handOutput({ pause: () => room.promise });
  const it = await reading(output);
  for (const sequence of [1, 2, 3]) it.come(streamMessage({ sequence }));
  it.last(streamMessage({ sequence: 4 }));
  output.abort();
  await it.running;
  assert.deepEqual(it.answers(), ["2 -NAK", "3 -NAK", "4 -NAK"]);
  output.emitted[0]!.end({ ok: true });
  assert.deepEqual(it.answers().slice(3), ["1 +ACK"]);
  await it.reader.close();
  assert.equal(it.clock.pending, 0);
});

Deno.test("a lost connection ends the session, and the next sees to the consumer again", async () => {
  const output = handOutput();
  const told: (string | null)[] = [];
  const trouble: SourceOutput["trouble"] = (cause) => void told.push(cause && cause.message);
  const it = await reading({ ...output, trouble });
  it.come(streamMessage({ sequence: 1 }));
  it.lose("the connection was lost");
  await settle();
  assert.equal(it.looked.length, 1);
  await it.clock.advance(1_000);
  assert.equal(it.looked.length, 2);
  assert.deepEqual(told, [null, "Cannot receive from NATS: the connection was lost", null]);
  // What was taken in before is still at work, and answered as ever.
  output.emitted[0]!.end({ ok: true });
  assert.deepEqual(it.answers(), ["1 +ACK"]);
  output.abort();
  await it.running;
  await it.reader.close();
});
