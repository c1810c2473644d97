import type { Consumer, ConsumerMessages, JsMsg } from "@nats-io/jetstream";
import type { Clock, Timer } from "../../core/clock.ts";
import { textOf } from "../../core/errors.ts";
import { logFor } from "../../core/log.ts";
import type { FlowEvent } from "../../flow/event.ts";
import type { Claim } from "../../flow/queue.ts";
import { natsError } from "../../nats/errors.ts";
import { decodeEvent, type QueuedEvent } from "./record.ts";

/** Messages asked for at a time, and how few may be left when more are asked for. */
const BATCH = 64;
const ASK_AGAIN = 16;

/** How long the server keeps a request, and how often it shows that it does. Milliseconds. */
const EXPIRES = 30_000;
const HEARTBEAT = 5_000;

/** Milliseconds before a message is looked at again that could not be read. */
const LOOK_AGAIN = 60_000;

interface Options {
  readonly queue: string;
  readonly clock: Clock;
  /** Milliseconds. */
  readonly ackWait: number;
}

/** A message that this node has; of its newest delivery, where the server sent it more than once. */
interface Open {
  message: JsMsg;
  /** Of the taker that has it. */
  readonly intake: MessageIntake;
}

/**
 * The messages of a queue that this node has, whether handed out or not. The server hears of them at a
 * third of `ackWait`, with one timer for all, so that it does not give a slow one to somebody else.
 */
export class Deliveries {
  readonly #open = new Map<string, Open>();
  #timer: Timer | null = null;
  #closed = false;

  constructor(readonly options: Options) {}

  /** Takes from the consumer until `signal` fires. */
  async *of(consumer: Consumer, signal: AbortSignal, most: number): AsyncGenerator<Claim> {
    const intake = new MessageIntake(consumer, most, (...of) => this.#add(...of));
    const end = () => intake.end();
    signal.addEventListener("abort", end);
    try {
      if (signal.aborted) return;
      intake.start();
      for (let open = await intake.next(); open; open = await intake.next()) {
        const claim = this.#claim(open);
        if (claim) yield claim;
      }
    } finally {
      signal.removeEventListener("abort", end);
      for (const open of await intake.stop()) this.nak(open, 0);
    }
  }

  async ack(open: Open): Promise<void> {
    this.#forget(open);
    try {
      await open.message.ackAck({ timeout: this.options.ackWait });
    } catch (cause) {
      throw natsError(cause, `acknowledge an event of the queue "${this.options.queue}"`);
    }
  }

  nak(open: Open, delay: number): void {
    this.#forget(open);
    try {
      open.message.nak(delay > 0 ? Math.ceil(delay) : undefined);
    } catch {
      // The connection was closed for good: the server gives it to the next who asks.
    }
  }

  close(): void {
    this.#closed = true;
    this.#timer?.clear();
    this.#timer = null;
  }

  /** `null` for a message that is here already. */
  #add(message: JsMsg, intake: MessageIntake): Open | null {
    const known = this.#open.get(keyOf(message));
    if (known) {
      known.message = message;
      return null;
    }
    const open = { message, intake };
    this.#open.set(keyOf(message), open);
    if (!this.#closed) this.#timer ??= this.#next();
    return open;
  }

  #claim(open: Open): Claim | null {
    const { queue } = this.options;
    // Node's Buffer, which the client hands out, gives views of the network's memory where others copy.
    const bytes = new Uint8Array(open.message.data);
    try {
      return new JetStreamClaim(this, open, decodeEvent(queue, bytes));
    } catch (cause) {
      logFor("queue").error("Cannot read an event of a queue; it is left where it is", {
        queue,
        error: textOf(cause),
      });
      this.nak(open, LOOK_AGAIN);
      return null;
    }
  }

  #forget({ message, intake }: Open): void {
    if (this.#open.delete(keyOf(message))) intake.held--;
  }

  #next(): Timer {
    return this.options.clock.after(this.options.ackWait / 3, () => {
      this.#timer = null;
      for (const { message } of this.#open.values()) stillWorking(message);
      if (this.#open.size > 0) this.#timer = this.#next();
    });
  }
}

/** Asks a consumer for messages, a few ahead of who wants them and never more than there is room for. */
class MessageIntake {
  /** Messages that came and have no answer yet. */
  held = 0;
  readonly #waiting: Open[] = [];
  #wanted = false;
  #batch: ConsumerMessages | null = null;
  #running: Promise<void> = Promise.resolve();
  #woken = Promise.withResolvers<void>();
  #ended = false;
  #error: { readonly cause: unknown } | null = null;

  constructor(
    readonly consumer: Consumer,
    readonly most: number,
    readonly add: (message: JsMsg, intake: MessageIntake) => Open | null,
  ) {}

  start(): void {
    this.#running = this.#run().catch((cause) => {
      this.#error = { cause };
      this.#wake();
    });
  }

  /** `null` when it has ended. */
  async next(): Promise<Open | null> {
    for (;;) {
      if (this.#ended) return null;
      const open = this.#waiting.shift();
      if (open) {
        if (this.#waiting.length < ASK_AGAIN) this.#wake();
        return open;
      }
      if (this.#error) throw this.#error.cause;
      const woken = this.#woken.promise;
      if (!this.#wanted) {
        this.#wanted = true;
        this.#wake();
      }
      await woken;
    }
  }

  end(): void {
    this.#ended = true;
    // `close` would wait for a reader.
    this.#batch?.stop();
    this.#wake();
  }

  /** Ends it and gives what nobody has asked for. */
  async stop(): Promise<Open[]> {
    this.end();
    await this.#running;
    return this.#waiting.splice(0);
  }

  async #run(): Promise<void> {
    while (!this.#ended) {
      const count = this.#toAskFor();
      if (count === 0) {
        await this.#woken.promise;
        continue;
      }
      this.#batch = await this.consumer.fetch({
        max_messages: count,
        expires: EXPIRES,
        idle_heartbeat: HEARTBEAT,
      });
      if (this.#ended) this.#batch.stop();
      for await (const message of this.#batch) {
        const open = this.add(message, this);
        if (!open) continue;
        this.held++;
        this.#wanted = false;
        this.#waiting.push(open);
        this.#wake();
      }
      this.#batch = null;
    }
  }

  #toAskFor(): number {
    const count = Math.min(this.most - this.held, BATCH);
    if (this.#waiting.length === 0 && this.#wanted) return Math.max(count, 1);
    return this.#waiting.length < ASK_AGAIN && count === BATCH ? count : 0;
  }

  #wake(): void {
    this.#woken.resolve();
    this.#woken = Promise.withResolvers();
  }
}

class JetStreamClaim implements Claim {
  readonly event: FlowEvent;
  readonly pushed: number;
  readonly attempts: number;
  readonly bytes: number;
  #settled = false;

  constructor(
    readonly deliveries: Deliveries,
    readonly open: Open,
    { event, pushed }: QueuedEvent,
  ) {
    this.event = event;
    this.pushed = pushed;
    this.attempts = open.message.info.deliveryCount;
    this.bytes = open.message.data.length;
  }

  async ack(): Promise<void> {
    if (this.#settled) return;
    this.#settled = true;
    await this.deliveries.ack(this.open);
  }

  async nak(delay: number): Promise<void> {
    if (this.#settled) return;
    this.#settled = true;
    this.deliveries.nak(this.open, delay);
  }
}

/** The same for all deliveries of one message, also when a stream of that name is made anew. */
function keyOf({ seq, info }: JsMsg): string {
  return `${seq}@${info.timestampNanos}`;
}

function stillWorking(message: JsMsg): void {
  try {
    message.working();
  } catch {
    // The connection was closed for good.
  }
}
