import type { Msg, NatsConnection } from "@nats-io/nats-core";
import assert from "node:assert/strict";
import { TestClock } from "../../core/clock.ts";
import { factsOf, type Taken, TakenMessages } from "./taken.ts";

function messages(ackWait = 3_000) {
  const sent: string[] = [];
  const decoder = new TextDecoder();
  const connection = {
    publish: (subject: string, payload: Uint8Array) =>
      void sent.push(`${subject.split(".")[5]} ${decoder.decode(payload)}`),
  } as unknown as NatsConnection;
  const clock = new TestClock();
  const taken = new TakenMessages({ connection, clock, ackWait });
  return {
    sent,
    clock,
    taken,
    add(sequence: number, deliveries = 1, data = "xy"): Taken | null {
      const reply = `$JS.ACK.S.d.${deliveries}.${sequence}.9.1700000000000000000.0`;
      const message = { reply, data: new TextEncoder().encode(data) } as unknown as Msg;
      return taken.add(message, factsOf(reply)!);
    },
  };
}

Deno.test("a reply subject tells where a message stands, with and without a domain", () => {
  const facts = {
    stream: "S",
    consumer: "d",
    deliveries: 3,
    sequence: 42,
    key: "42@1700000000000000000",
  };
  assert.deepEqual(factsOf("$JS.ACK.S.d.3.42.7.1700000000000000000.5"), facts);
  assert.deepEqual(factsOf("$JS.ACK.hub.ACC.S.d.3.42.7.1700000000000000000.5.rnd"), facts);
  assert.equal(factsOf("_INBOX.x"), null);
  assert.equal(factsOf("$JS.ACK.S"), null);
  assert.equal(factsOf(undefined), null);
});

Deno.test("while a message is here the server hears so before ack_wait is over", async () => {
  const { sent, clock, taken, add } = messages();
  const slow = add(1)!;
  await clock.advance(1_500);
  const late = add(2)!;
  await clock.advance(500);
  assert.deepEqual(sent, ["1 +WPI"]);
  await clock.advance(1_000);
  assert.deepEqual(sent, ["1 +WPI", "1 +WPI", "2 +WPI"]);
  taken.ack(slow);
  taken.ack(late);
  sent.length = 0;
  await clock.advance(60_000);
  assert.deepEqual([sent, clock.pending], [[], 0]);
});

Deno.test("a quick delivery costs no heartbeat, and one timer does for all", async () => {
  const { sent, clock, taken, add } = messages();
  for (let n = 1; n <= 100; n++) add(n);
  assert.equal(clock.pending, 1);
  await clock.advance(900);
  const quick = add(101)!;
  await clock.advance(200);
  assert.deepEqual(sent, []);
  taken.ack(quick);
  assert.deepEqual(sent, ["101 +ACK"]);
  taken.close();
});

Deno.test("a message is answered once", () => {
  const { sent, taken, add } = messages();
  const one = add(1)!;
  taken.nak(one, 0);
  taken.ack(one);
  taken.term(add(2)!, "event.bad");
  taken.nak(add(3)!, 1_500);
  assert.deepEqual(sent, ["1 -NAK", "2 +TERM event.bad", '3 -NAK {"delay":1500000000}']);
  assert.deepEqual([taken.count, taken.bytes], [0, 0]);
});

Deno.test("a message that is here already is not taken twice; its newer delivery is answered", () => {
  const { taken, add } = messages();
  const one = add(1)!;
  assert.equal(add(1, 2), null);
  assert.deepEqual([taken.count, taken.bytes], [1, 2]);
  assert.equal(one.info.deliveries, 2);
  assert.match(one.message.reply!, /^\$JS\.ACK\.S\.d\.2\.1\./);
  taken.ack(one);
  assert.notEqual(add(1, 3), null);
  taken.close();
});

Deno.test("a connection that was closed for good loses the answer and nothing else", () => {
  const clock = new TestClock();
  const connection = {
    publish() {
      throw new Error("closed");
    },
  } as unknown as NatsConnection;
  const taken = new TakenMessages({ connection, clock, ackWait: 1_000 });
  const reply = "$JS.ACK.S.d.1.1.1.1.0";
  const one = taken.add({ reply, data: new Uint8Array() } as unknown as Msg, factsOf(reply)!)!;
  taken.ack(one);
  assert.equal(taken.count, 0);
  taken.close();
});
