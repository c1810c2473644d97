/**
 * Messages through subscriber, script and publisher while runtimes and the server are killed. What must
 * come out is known from the producer alone: the ids that the server acknowledged, with the digests of
 * their payloads.
 */
import assert from "node:assert/strict";
import { jetstream, type JetStreamClient, jetstreamManager } from "@nats-io/jetstream";
import type { NatsConnection } from "@nats-io/nats-core";
import { connect } from "@nats-io/transport-node";
import { type NatsServer, until } from "../nats/server.ts";
import type { Chance } from "./kills.ts";
import { PATIENCE, type Scene } from "./scene.ts";

/** The flow; it uses the server of the runtime. */
const FLOW = `flow:
  tasks:
    - nats_jetstream_subscriber:
        name: take
        subject: "in.>"
        stream: { name: IN }
        ack_wait: 2s
        backoff: [200ms]
        max_in_flight: 256
    - script:
        name: turn
        code: |
          return { id: event.data.id, body: event.data.body.split("").reverse().join("") };
    - nats_jetstream_publisher:
        name: put
        subject: out.all
        msg_id: "{{event.data.id}}"
        stream: { name: OUT }
        ack_timeout: 2s
`;

/** Publishes of the producer under way at once. */
const IN_FLIGHT = 64;
/** Longer than any run: what is published twice is stored once. */
const WINDOW = 3_600_000;

export interface PipelineResult {
  readonly messages: number;
  readonly kills: { readonly runtimes: number; readonly servers: number };
  /** Milliseconds from the first message in to the last one out. */
  readonly took: number;
  /** Deliveries beyond one for each message. */
  readonly again: number;
}

/** @param every Milliseconds between two kills, on average. */
export async function pipeline(
  scene: Scene,
  server: NatsServer,
  { messages, every, mostKills, chance, replicas = 2 }: {
    messages: number;
    every: number;
    /** Then there is peace, so that the end is reached. */
    mostKills: number;
    chance: Chance;
    replicas?: number;
  },
): Promise<PipelineResult> {
  const connection = await connect({ servers: server.url, maxReconnectAttempts: -1 });
  try {
    const manager = await jetstreamManager(connection);
    await manager.streams.add({ name: "IN", subjects: ["in.>"], duplicate_window: WINDOW * 1e6 });
    await manager.streams.add({ name: "OUT", subjects: ["out.>"], duplicate_window: WINDOW * 1e6 });
    await scene.flows({ pipeline: FLOW });
    await scene.startAll(replicas);
    const from = performance.now();
    const over = new AbortController();
    const killing = kill(scene, server, { every, mostKills, chance, signal: over.signal });
    const sent = await produce(jetstream(connection), messages);
    try {
      await until(
        async () => await stored(connection) >= messages,
        Math.max(PATIENCE, messages * 5),
        "not all messages came out",
      );
    } finally {
      over.abort();
    }
    const kills = await killing;
    const took = performance.now() - from;
    await allDone(connection);
    await compare(connection, sent);
    return { messages, kills, took, again: await redelivered(connection, messages) };
  } finally {
    await connection.close();
  }
}

/** Publishes until each message is acknowledged; digests of their bodies, by id. */
async function produce(client: JetStreamClient, count: number): Promise<Map<string, string>> {
  const sent = new Map<string, string>();
  let next = 0;
  await Promise.all(Array.from({ length: IN_FLIGHT }, async () => {
    while (next < count) {
      const id = `m-${next++}`;
      const body = crypto.getRandomValues(new Uint8Array(120)).toBase64();
      sent.set(id, await digest(body));
      await publish(client, id, body);
    }
  }));
  return sent;
}

async function publish(client: JetStreamClient, id: string, body: string): Promise<void> {
  for (;;) {
    try {
      await client.publish(`in.${id}`, JSON.stringify({ id, body }), {
        msgID: id,
        timeout: 2_000,
      });
      return;
    } catch {
      // The server was killed: the id keeps the message from being stored twice.
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }
}

/** Kills the server and then runtimes, twice as often, and starts them again at once. */
async function kill(
  scene: Scene,
  server: NatsServer,
  { every, mostKills, chance, signal }: {
    every: number;
    mostKills: number;
    chance: Chance;
    signal: AbortSignal;
  },
): Promise<{ runtimes: number; servers: number }> {
  const kills = { runtimes: 0, servers: 0 };
  for (let n = 1; n <= mostKills; n++) {
    await pause(every * (0.5 + chance()), signal);
    if (signal.aborted) return kills;
    if (n % 3 === 1) {
      await server.kill();
      await server.start();
      kills.servers++;
    } else {
      const { running } = scene;
      await running[Math.floor(chance() * running.length)]!.kill();
      await scene.start();
      kills.runtimes++;
    }
  }
  return kills;
}

function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, ms);
    signal.addEventListener("abort", () => {
      clearTimeout(timer);
      resolve();
    }, { once: true });
  });
}

async function stored(connection: NatsConnection): Promise<number> {
  try {
    const manager = await jetstreamManager(connection, { checkAPI: false, timeout: 2_000 });
    return (await manager.streams.info("OUT")).state.messages;
  } catch {
    return 0;
  }
}

/** Nothing is left of the input that the consumer would bring again. */
async function allDone(connection: NatsConnection): Promise<void> {
  const manager = await jetstreamManager(connection, { checkAPI: false, timeout: 2_000 });
  let left = "";
  await until(
    async () => {
      // The server may have come back just now, and the connection not yet.
      const [consumer] = await manager.consumers.list("IN").next().catch((cause) => {
        left = String(cause);
        return [];
      });
      if (!consumer) return false;
      left = `${consumer.num_pending} pending, ${consumer.num_ack_pending} unacknowledged`;
      return consumer.num_pending === 0 && consumer.num_ack_pending === 0;
    },
    PATIENCE,
    "the input is not done",
  ).catch((cause) => assert.fail(`${left}: ${cause.message}`));
}

/** Each acknowledged message is in the output once, with its payload. */
async function compare(
  connection: NatsConnection,
  sent: ReadonlyMap<string, string>,
): Promise<void> {
  const manager = await jetstreamManager(connection);
  const { state } = await manager.streams.info("OUT");
  const consumer = await jetstream(connection).consumers.get("OUT");
  const out = new Map<string, string>();
  const twice: string[] = [];
  const iterator = await consumer.consume();
  for await (const message of iterator) {
    const { id, body } = message.json<{ id: string; body: string }>();
    if (out.has(id)) twice.push(id);
    out.set(id, await digest(body.split("").reverse().join("")));
    if (message.seq >= state.last_seq) break;
  }
  const lost = [...sent.keys()].filter((id) => !out.has(id));
  const wrong = [...sent].filter(([id, sum]) => out.has(id) && out.get(id) !== sum);
  const strange = [...out.keys()].filter((id) => !sent.has(id));
  assert.deepEqual({ lost, twice, wrong, strange }, {
    lost: [],
    twice: [],
    wrong: [],
    strange: [],
  });
}

/** Deliveries beyond one for each message, as the server counts them. */
async function redelivered(connection: NatsConnection, messages: number): Promise<number> {
  const manager = await jetstreamManager(connection);
  const [consumer] = await manager.consumers.list("IN").next();
  return consumer!.delivered.consumer_seq - messages;
}

async function digest(text: string): Promise<string> {
  const sum = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(text));
  return new Uint8Array(sum).toHex();
}
