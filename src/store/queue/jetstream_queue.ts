import type { JetStreamClient, JetStreamManager, StreamConfig } from "@nats-io/jetstream";
import type { Clock } from "../../core/clock.ts";
import { FlowError } from "../../core/errors.ts";
import type { FlowEvent } from "../../flow/event.ts";
import {
  checkQueueName,
  type Claim,
  DEFAULT_LIMITS,
  eventTooLarge,
  MOST_CLAIMED,
  type Queue,
  queueFull,
  type QueueLimits,
  type Queues,
  type QueueSize,
} from "../../flow/queue.ts";
import { type Store, storeClosed } from "../../flow/store.ts";
import { Tally } from "../../flow/tally.ts";
import { acquireNats, type NatsLease } from "../../nats/connect.ts";
import { natsError } from "../../nats/errors.ts";
import { checkJetStream } from "../../nats/jetstream.ts";
import type { NatsOptions } from "../../nats/options.ts";
import { Deliveries } from "./jetstream_deliveries.ts";
import { encodeEvent } from "./record.ts";

/** The durable consumer that all takers of a queue share. */
const CONSUMER = "takers";

/** For the server to keep an event. */
const PUSH_TIMEOUT = 5_000;

/** Milliseconds after which the server gives an event of a node that died to another. */
const ACK_WAIT = 30_000;

/** The server's numbers for a name that another node has just taken, and for what is not there. */
const STREAM_NAME_TAKEN = 10058;
const STREAM_MISSING = 10059;

export interface JetStreamQueuesOptions {
  readonly nats: NatsOptions;
  /** In front of the names of streams and subjects: letters, digits, `_` and `-`. */
  readonly prefix: string;
  readonly replicas?: number;
  /** All nodes share it: it knows which deliveries do not count. */
  readonly store: Store;
  readonly clock: Clock;
  /** Milliseconds. */
  readonly ackWait?: number;
}

interface Client {
  readonly lease: NatsLease;
  readonly client: JetStreamClient;
  readonly manager: JetStreamManager;
}

/**
 * Queues in a cluster: each is a work-queue stream `<prefix>_queue_<name>` with a consumer that all
 * nodes share. The limits are the stream's, so the server keeps them.
 */
export class JetStreamQueues implements Queues {
  readonly #queues = new Map<string, JetStreamQueue>();
  #client: Promise<Client> | null = null;
  #closed = false;

  constructor(readonly options: JetStreamQueuesOptions) {}

  /** @throws {FlowError} `nats.*` */
  async open(name: string, limits?: QueueLimits): Promise<Queue> {
    checkQueueName(name);
    const client = await this.#connect();
    const queue = this.#queues.get(name) ?? new JetStreamQueue(name, client, this.options);
    await queue.ensure(limits);
    this.#queues.set(name, queue);
    return queue;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closed = true;
    for (const queue of this.#queues.values()) queue.close();
    const client = await this.#client?.catch(() => null);
    await client?.lease[Symbol.asyncDispose]();
  }

  async #connect(): Promise<Client> {
    if (this.#closed) throw storeClosed();
    const connecting = this.#client ??= connect(this.options);
    try {
      return await connecting;
    } catch (cause) {
      if (this.#client === connecting) this.#client = null;
      throw cause;
    }
  }
}

async function connect({ nats, clock }: JetStreamQueuesOptions): Promise<Client> {
  const lease = await acquireNats(nats, { clock });
  try {
    await checkJetStream(lease);
    const { jetstream, jetstreamManager } = await import("@nats-io/jetstream");
    const manager = await jetstreamManager(lease.connection, { checkAPI: false });
    return { lease, manager, client: jetstream(lease.connection) };
  } catch (cause) {
    await lease[Symbol.asyncDispose]();
    throw natsError(cause, "use queues");
  }
}

class JetStreamQueue implements Queue {
  readonly #stream: string;
  readonly #subject: string;
  readonly #deliveries: Deliveries;
  #maxBytes = Infinity;
  #closed = false;

  constructor(
    readonly name: string,
    readonly client: Client,
    readonly options: JetStreamQueuesOptions,
  ) {
    this.#stream = `${options.prefix}_queue_${name}`;
    this.#subject = `${options.prefix}.queue.${name}`;
    this.#deliveries = new Deliveries({
      queue: name,
      clock: options.clock,
      ackWait: options.ackWait ?? ACK_WAIT,
      untried: new Tally(options.store, ["queue", name, "untried"], crypto.randomUUID()),
    });
  }

  /** Makes the stream, or gives it these limits. */
  async ensure(limits?: QueueLimits): Promise<void> {
    const { streams } = this.client.manager;
    try {
      const current = await this.#config() ?? await this.#make(limits ?? DEFAULT_LIMITS);
      const wanted = { ...current, ...(limits && settingsOf(limits)) };
      if (differ(current, wanted)) await streams.update(this.#stream, settingsOf(limits!));
      this.#maxBytes = wanted.max_bytes > 0 ? wanted.max_bytes : Infinity;
    } catch (cause) {
      throw natsError(cause, `open the queue "${this.name}"`);
    }
  }

  async push(event: FlowEvent): Promise<void> {
    if (this.#closed) throw storeClosed();
    const value = encodeEvent(event, this.options.clock.now());
    const most = Math.min(this.#maxBytes, this.client.lease.server.maxPayload);
    if (value.length > most) throw eventTooLarge(this.name, value.length, most);
    try {
      await this.client.client.publish(this.#subject, value, { timeout: PUSH_TIMEOUT });
    } catch (cause) {
      throw await this.#pushError(cause, value.length);
    }
  }

  async *take(signal: AbortSignal, most = MOST_CLAIMED): AsyncGenerator<Claim> {
    if (this.#closed) return;
    try {
      const { manager, client } = this.client;
      await manager.consumers.add(this.#stream, {
        durable_name: CONSUMER,
        ack_policy: "explicit",
        ack_wait: (this.options.ackWait ?? ACK_WAIT) * 1e6,
        // Who takes decides when it is enough.
        max_deliver: -1,
        max_ack_pending: MOST_CLAIMED,
      });
      const consumer = await client.consumers.get(this.#stream, CONSUMER);
      yield* this.#deliveries.of(consumer, signal, most);
    } catch (cause) {
      throw takeError(cause, `take from the queue "${this.name}"`);
    }
  }

  async size(): Promise<QueueSize> {
    try {
      const { state } = await this.client.manager.streams.info(this.#stream);
      return { events: state.messages, bytes: state.bytes };
    } catch (cause) {
      throw natsError(cause, `look at the queue "${this.name}"`);
    }
  }

  close(): void {
    this.#closed = true;
    this.#deliveries.close();
  }

  async #config(): Promise<StreamConfig | null> {
    try {
      return (await this.client.manager.streams.info(this.#stream)).config;
    } catch (cause) {
      if (codeOf(cause) === STREAM_MISSING) return null;
      throw cause;
    }
  }

  async #make(limits: QueueLimits): Promise<StreamConfig> {
    const { prefix, replicas = 1 } = this.options;
    try {
      const { config } = await this.client.manager.streams.add({
        name: this.#stream,
        description: `Queue "${this.name}" of ${prefix}`,
        subjects: [this.#subject],
        retention: "workqueue",
        storage: "file",
        num_replicas: replicas,
        ...settingsOf(limits),
      });
      return config;
    } catch (cause) {
      const made = codeOf(cause) === STREAM_NAME_TAKEN && await this.#config();
      if (made) return made;
      throw cause;
    }
  }

  async #pushError(cause: unknown, bytes: number): Promise<FlowError> {
    const error = natsError(cause, `push to the queue "${this.name}"`);
    if (error.code !== "nats.limit_reached") return error;
    const size = await this.size().catch(() => null);
    if (!size) return error;
    return size.events === 0
      ? eventTooLarge(this.name, bytes, this.#maxBytes)
      : queueFull(this.name, size);
  }
}

/** A request that nobody keeps any more, such as after a restart of the server, is no defect. */
function takeError(cause: unknown, what: string): FlowError {
  if (!(cause instanceof Error && cause.message === "heartbeats missed")) {
    return natsError(cause, what);
  }
  return new FlowError("nats.unavailable", `Cannot ${what}: the server does not answer`, { cause });
}

function settingsOf({ maxEvents, maxBytes, whenFull }: QueueLimits) {
  return {
    max_msgs: maxEvents,
    max_bytes: maxBytes,
    discard: whenFull === "reject" ? "new" as const : "old" as const,
  };
}

type Limits = Pick<StreamConfig, "max_msgs" | "max_bytes" | "discard">;

function differ(a: Limits, b: Limits): boolean {
  return a.max_msgs !== b.max_msgs || a.max_bytes !== b.max_bytes || a.discard !== b.discard;
}

function codeOf(cause: unknown): number | undefined {
  const code = (cause as { code?: unknown } | null)?.code;
  return typeof code === "number" ? code : undefined;
}
