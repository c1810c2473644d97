import type { Msg, NatsConnection } from "@nats-io/nats-core";
import assert from "node:assert/strict";
import { TestClock } from "../../core/clock.ts";
import type { FlowError } from "../../core/errors.ts";
import { Puller, type PullerOptions, type Room } from "./puller.ts";

const decoder = new TextDecoder();

/** A puller against a server made by hand. */
function pulling(options: Partial<PullerOptions> & { window?: number; bytes?: number } = {}) {
  const { window = 8, bytes = 80_000 } = options;
  const asked: { batch: number; max_bytes?: number; inbox: string }[] = [];
  const broken: FlowError[] = [];
  let receive!: (error: Error | null, message: Msg) => void;
  let held = 0;
  let heldBytes = 0;
  const clock = new TestClock();
  const room = (): Room => ({
    events: window - held,
    bytes: bytes - heldBytes,
    empty: held === 0,
  });
  const connection = {
    subscribe(_: string, { callback }: { callback: typeof receive }) {
      receive = callback;
      return { unsubscribe() {}, drain: () => Promise.resolve() };
    },
    publish(subject: string, payload: Uint8Array, { reply }: { reply: string }) {
      assert.equal(subject, "$JS.API.CONSUMER.MSG.NEXT.S.d");
      const { batch, max_bytes } = JSON.parse(decoder.decode(payload));
      asked.push({ batch, max_bytes, inbox: reply });
    },
  } as unknown as NatsConnection;
  const puller = new Puller({
    connection,
    stream: "S",
    consumer: "d",
    clock,
    step: 4,
    stepBytes: 40_000,
    maxPayload: 1_000,
    delay: 0,
    onMessage: (message) => {
      held++;
      heldBytes += message.data.length;
    },
    onRoom: () => puller.pull(room()),
    onBroken: (error) => void broken.push(error),
    ...options,
  }, "in");
  return {
    asked,
    broken,
    clock,
    puller,
    start: () => puller.pull(room()),
    /** So many messages come. */
    come(count: number, size = 10) {
      for (let n = 0; n < count; n++) {
        const data = new Uint8Array(size);
        receive(null, { subject: "a", reply: "$JS.ACK", data, size: () => size } as unknown as Msg);
      }
    },
    /** So many deliveries end. */
    end(count: number, size = 10) {
      held -= count;
      heldBytes -= count * size;
      puller.pull(room());
    },
    status(inbox: string, code: number, description: string, left = 0, leftBytes = 0) {
      const facts: Record<string, string> = {
        "Nats-Pending-Messages": String(left),
        "Nats-Pending-Bytes": String(leftBytes),
      };
      const headers = { code, description, get: (name: string) => facts[name] ?? "" };
      receive(null, { subject: inbox, headers, data: new Uint8Array() } as unknown as Msg);
    },
  };
}

const batches = (asked: { batch: number }[]) => asked.map(({ batch }) => batch);

Deno.test("as much is asked for as the window has room for, in a few requests", () => {
  const it = pulling();
  it.start();
  assert.deepEqual(batches(it.asked), [4, 4]);
  it.come(8);
  assert.deepEqual(batches(it.asked), [4, 4]);
  it.puller.stop();
});

Deno.test("more is asked for when a good part of the window is free, or when nothing is on its way", () => {
  const it = pulling();
  it.start();
  it.come(4);
  it.status(it.asked[0]!.inbox, 409, "Batch Completed", 0, 39_960);
  it.end(3);
  assert.deepEqual(batches(it.asked), [4, 4]);
  it.end(1);
  assert.deepEqual(batches(it.asked), [4, 4, 4]);
  it.come(8);
  it.end(1);
  assert.deepEqual(batches(it.asked), [4, 4, 4, 1]);
  it.puller.stop();
});

Deno.test("a window of one message is one request of one message", () => {
  const it = pulling({ window: 1, step: 1 });
  it.start();
  assert.deepEqual(batches(it.asked), [1]);
  it.come(1);
  assert.deepEqual(batches(it.asked), [1]);
  it.end(1);
  assert.deepEqual(batches(it.asked), [1, 1]);
  it.puller.stop();
});

Deno.test("requests bring at most the bytes that the window has", () => {
  const it = pulling({ bytes: 50_000 });
  it.start();
  assert.deepEqual(it.asked.map(({ max_bytes }) => max_bytes), [40_000, 10_000]);
  it.puller.stop();
});

Deno.test("a request that ended gives back what it did not bring", () => {
  const it = pulling();
  it.start();
  it.come(2);
  it.end(2);
  const [first, second] = it.asked;
  it.status(first!.inbox, 408, "Request Timeout", 2, 39_980);
  assert.deepEqual(batches(it.asked), [4, 4, 4]);
  // Told twice, or of a request long gone, changes nothing.
  it.status(first!.inbox, 408, "Request Timeout", 4, 0);
  it.status("in.99", 409, "Message Size Exceeds MaxBytes", 4, 0);
  assert.equal(it.asked.length, 3);
  it.status(second!.inbox, 409, "Batch Completed", 0, 5);
  assert.equal(it.asked.length, 3);
  it.puller.stop();
});

Deno.test("a message that fits into no request is asked for alone, when nothing else is here", () => {
  const it = pulling({ window: 2, step: 2 });
  it.start();
  it.come(1);
  const [first] = it.asked;
  it.status(first!.inbox, 409, "Message Size Exceeds MaxBytes", 1, 39_990);
  // The rest of the request's bytes did not do; a new request may.
  assert.deepEqual(batches(it.asked), [2, 1]);
  it.status(it.asked[1]!.inbox, 409, "Message Size Exceeds MaxBytes", 1, 40_000);
  assert.equal(it.asked.length, 2);
  it.end(1);
  assert.deepEqual(it.asked[2], { batch: 1, max_bytes: undefined, inbox: "in.3" });
  it.puller.stop();
});

Deno.test("a new leader is asked anew, at once", () => {
  for (const text of ["Leadership Change", "Server Shutdown"]) {
    const it = pulling();
    it.start();
    it.status(it.asked[0]!.inbox, 409, text);
    assert.deepEqual(batches(it.asked), [4, 4, 4, 4]);
    it.puller.stop();
  }
});

Deno.test("what asking again cannot mend ends it, once", () => {
  const ends: [number, string, string, string][] = [
    [409, "Consumer Deleted", "nats.consumer_missing", "consumer deleted"],
    [409, "Consumer is push based", "nats.refused", "consumer is push based"],
    [409, "Exceeded MaxRequestBatch of 2", "nats.refused", "exceeded maxrequestbatch of 2"],
    [503, "", "nats.unavailable", "it does not answer"],
    [400, "Bad Request - x", "nats.refused", "bad request - x"],
  ];
  for (const [code, text, kind, words] of ends) {
    const it = pulling();
    it.start();
    it.status(it.asked[0]!.inbox, code, text);
    it.status(it.asked[1]!.inbox, code, text);
    assert.deepEqual(it.broken.map(({ code, message }) => [code, message]), [
      [kind, `Cannot receive from the consumer "d" of stream "S": ${words}`],
    ]);
    assert.equal(it.clock.pending, 0);
  }
});

Deno.test("a server that gives no sign of life for long is taken for lost", async () => {
  const it = pulling();
  it.start();
  for (let n = 0; n < 10; n++) {
    await it.clock.advance(5_000);
    it.status(it.asked[0]!.inbox, 100, "Idle Heartbeat");
  }
  assert.equal(it.broken.length, 0);
  await it.clock.advance(20_000);
  assert.deepEqual(it.broken.map(({ message }) => message), [
    'Cannot receive from the consumer "d": it has stopped answering',
  ]);
});

Deno.test("a full window asks for nothing, so silence means nothing", async () => {
  const it = pulling();
  it.start();
  it.come(8);
  await it.clock.advance(600_000);
  assert.equal(it.broken.length, 0);
  it.end(8);
  await it.clock.advance(5_000);
  assert.equal(it.broken.length, 0);
  it.puller.stop();
});

Deno.test("a request whose end got lost does not hold room for ever", async () => {
  const it = pulling();
  it.start();
  for (let n = 0; n < 10; n++) {
    await it.clock.advance(5_000);
    it.status(it.asked.at(-1)!.inbox, 100, "Idle Heartbeat");
  }
  assert.ok(it.asked.length > 2);
  it.puller.stop();
});

Deno.test("with delay requests keep their distance", async () => {
  const it = pulling({ delay: 1_000, window: 4 });
  it.start();
  it.come(4);
  it.end(4);
  assert.equal(it.asked.length, 1);
  await it.clock.advance(999);
  assert.equal(it.asked.length, 1);
  await it.clock.advance(1);
  assert.equal(it.asked.length, 2);
  it.puller.stop();
});
