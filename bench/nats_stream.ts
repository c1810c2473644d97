/** From stream to stream: a flow beside a program of bare `@nats-io/jetstream`. */
import { Bed } from "./nats_bed.ts";
import type { Report, Size } from "./suites.ts";
import { inTurns } from "./turns.ts";

const MESSAGES = 50_000;
const ROUNDS = 3;
/** The subscriber's window and the publisher's concurrency when a flow says nothing. */
const WINDOW = 1_024;
const PUBLISHES = 256;

const flow = (consumer: string) => `
flow:
  tasks:
    - nats_jetstream_subscriber:
        name: take
        url: "URL"
        subject: in.>
        stream: { name: IN }
        durable_name: ${consumer}
    - script:
        name: total
        code: |
          const { id, price, count, tags, note } = event.data;
          return { id, total: price * count, big: tags.length > 2, tags, note };
    - nats_jetstream_publisher:
        name: put
        url: "URL"
        subject: out.orders
        stream: { name: OUT }
`;

/**
 * Subscriber → script → publisher, scripts in the cage and outside it, at the fields' defaults. The bare
 * side, the faster of two ways to write it, has the same window and acknowledges a message when its copy
 * is stored, but it neither reads nor writes JSON: it passes the bytes on.
 */
export async function benchStreams(size: Size): Promise<Report> {
  await using bed = await Bed.filled(size(MESSAGES));
  let runs = 0;
  const ours = (isolation: "process" | "none") => async () => {
    const consumer = `ours-${++runs}`;
    const rate = () => bed.rate(consumer);
    return await checked(bed, bed.withFlow({ flow: flow(consumer), isolation }, rate));
  };
  const rates = await inTurns(ROUNDS, {
    called: () => checked(bed, called(bed, `called-${++runs}`)),
    iterated: () => checked(bed, iterated(bed, `iterated-${++runs}`)),
    none: ours("none"),
    caged: ours("process"),
  });
  const row = (isolation: "caged" | "none") => ({
    name: `JetStream → script ${isolation} → JetStream, 300 B / bare consume and publish`,
    ours: rates[isolation],
    raw: Math.max(rates.called, rates.iterated),
    unit: "events/s" as const,
    goal: { ratio: 0.8 },
  });
  return { rows: [row("caged"), row("none")] };
}

/** A callback for each message: the window alone bounds what is under way. */
async function called(bed: Bed, name: string): Promise<number> {
  await bed.consumer(name, WINDOW);
  const consumer = await bed.js.consumers.get("IN", name);
  const messages = await consumer.consume({
    max_messages: WINDOW,
    callback: (message) => {
      void bed.js.publish("out.orders", message.data).then(() => message.ack());
    },
  });
  const rate = await bed.rate(name);
  messages.stop();
  return rate;
}

/** A loop over the messages, which stops where as many publishes are under way as a flow has. */
async function iterated(bed: Bed, name: string): Promise<number> {
  await bed.consumer(name, WINDOW);
  const consumer = await bed.js.consumers.get("IN", name);
  const messages = await consumer.consume({ max_messages: WINDOW });
  const copying = (async () => {
    let underWay = 0;
    let room = Promise.withResolvers<void>();
    for await (const message of messages) {
      if (++underWay >= PUBLISHES) await room.promise;
      void bed.js.publish("out.orders", message.data).then(() => {
        message.ack();
        underWay--;
        room.resolve();
        room = Promise.withResolvers();
      });
    }
  })();
  const rate = await bed.rate(name);
  messages.stop();
  await copying;
  return rate;
}

/** Nothing that was lost shall look fast. */
async function checked(bed: Bed, run: Promise<number>): Promise<number> {
  const rate = await run;
  const out = await bed.takeOut();
  if (out !== bed.messages) throw new Error(`${out} messages came out, not ${bed.messages}`);
  return rate;
}
