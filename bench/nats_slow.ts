/** A leaf that is slow by waiting: what a window is for. */
import * as v from "valibot";
import { defineTask } from "../mod.ts";
import { sleep } from "../src/core/clock.ts";
import { Bed } from "./nats_bed.ts";
import type { Report, Size } from "./suites.ts";
import { inTurns } from "./turns.ts";

const MESSAGES = 12_000;
const ROUNDS = 3;
const WINDOW = 256;
/** Milliseconds that the leaf takes for each message. */
const SLOW = 50;
const GOAL = 4_000;
/** One at a time, 40 messages take two seconds. */
const ALONE = 40;

const slow = defineTask({
  type: "slow",
  mode: "async",
  summary: "Takes its time.",
  config: v.strictObject({}),
  examples: [{ title: "Nothing to choose", config: {} }],
  create: ({ clock }) => async (event) => {
    await sleep(clock, SLOW);
    return event;
  },
});

const flow = (consumer: string, window: number) => `
flow:
  tasks:
    - nats_jetstream_subscriber:
        name: take
        url: "URL"
        subject: in.>
        stream: { name: IN }
        durable_name: ${consumer}
        max_in_flight: ${window}
    - slow: { name: work, concurrency: ${window} }
`;

/** 256 messages in flight, against the same with the bare client, and one at a time. */
export async function benchSlowLeaf(size: Size): Promise<Report> {
  await using bed = await Bed.filled(size(MESSAGES));
  let runs = 0;
  const rates = await inTurns(ROUNDS, {
    raw: () => bare(bed, `bare-${++runs}`),
    ours: () => {
      const consumer = `ours-${++runs}`;
      const text = flow(consumer, WINDOW);
      return bed.withFlow({ flow: text, tasks: [slow] }, () => bed.rate(consumer));
    },
  });
  await using few = await Bed.filled(ALONE);
  const alone = await few.withFlow(
    { flow: flow("alone", 1), tasks: [slow] },
    () => few.rate("alone"),
  );
  return {
    rows: [{
      name: `JetStream → leaf of ${SLOW} ms, ${WINDOW} in flight / bare consume`,
      ...rates,
      unit: "events/s",
      goal: { value: GOAL },
    }],
    facts: [`one in flight: ${alone.toFixed(1)} events/s`],
  };
}

async function bare(bed: Bed, name: string): Promise<number> {
  await bed.consumer(name, WINDOW);
  const consumer = await bed.js.consumers.get("IN", name);
  const messages = await consumer.consume({
    max_messages: WINDOW,
    callback: (message) => void setTimeout(() => message.ack(), SLOW),
  });
  const rate = await bed.rate(name);
  messages.stop();
  return rate;
}
