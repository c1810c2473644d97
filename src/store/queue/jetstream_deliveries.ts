import type { Consumer, ConsumerMessages, JsMsg } from "@nats-io/jetstream";
import type { Subscription } from "@nats-io/nats-core";
import { type Clock, sleep, type Timer } from "../../core/clock.ts";
import { textOf } from "../../core/errors.ts";
import { logFor } from "../../core/log.ts";
import type { Claim } from "../../flow/queue.ts";
import type { Tally } from "../../flow/tally.ts";
import { natsError } from "../../nats/errors.ts";
import { claimOf } from "./claim.ts";
import { decodeEvent } from "./record.ts";

/** Messages asked for at a time, and how few may be left when more are asked for. */
const BATCH = 64;
const ASK_AGAIN = 16;

/** How long the server keeps a request, and how often it shows that it does. Milliseconds. */
const EXPIRES = 30_000;
const HEARTBEAT = 5_000;

/** On its way when a taker ends: milliseconds to wait for it. */
const LAST_MESSAGES = 2_000;

/** Milliseconds before a message is looked at again that could not be read. */
const LOOK_AGAIN = 60_000;

interface Options {
  readonly queue: string;
  readonly clock: Clock;
  /** Milliseconds. */
  readonly ackWait: number;
  /** The server counts every delivery; these are those that do not count. */
  readonly untried: Tally;
}

/** A message that this node has; of its newest delivery, where the server sent it more than once. */
interface Open {
  message: JsMsg;
  /** Of the taker that has it. */
  readonly intake: MessageIntake;
  /** Deliveries that do not count; known before they are needed, with one look for all that came. */
  readonly untried: Promise<number>;
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
    const { clock } = this.options;
    const intake = new MessageIntake({ consumer, most, clock, add: (...of) => this.#add(...of) });
    const end = () => intake.end();
    signal.addEventListener("abort", end);
    try {
      if (signal.aborted) return;
      intake.start();
      for (let open = await intake.next(); open; open = await intake.next()) {
        const claim = await this.#claim(open);
        if (claim && signal.aborted) await claim.giveBack();
        else if (claim) yield claim;
      }
    } finally {
      signal.removeEventListener("abort", end);
      await this.#giveBack(await intake.stop());
    }
  }

  async #ack(open: Open): Promise<void> {
    this.#forget(open);
    try {
      await open.message.ackAck({ timeout: this.options.ackWait });
    } catch (cause) {
      throw natsError(cause, `acknowledge an event of the queue "${this.options.queue}"`);
    }
  }

  #nak(open: Open, delay: number): void {
    this.#forget(open);
    try {
      open.message.nak(delay > 0 ? Math.ceil(delay) : undefined);
    } catch {
      // The connection was closed for good: the server gives it to the next who asks.
    }
  }

  /** Sends these again at once, to any taker, as if for the first time. */
  async #giveBack(all: readonly Open[]): Promise<void> {
    if (all.length === 0) return;
    try {
      await this.options.untried.note(all.map(({ message }) => keyOf(message)));
    } catch (cause) {
      logFor("queue").warning("Events of a queue that were not tried count as delivered", {
        queue: this.options.queue,
        events: all.length,
        error: textOf(cause),
      });
    }
    for (const open of all) this.#nak(open, 0);
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
    const { untried } = this.options;
    const counts = message.info.deliveryCount === 1;
    const open = {
      message,
      intake,
      untried: counts ? Promise.resolve(0) : untried.count(keyOf(message)),
    };
    open.untried.catch(() => {}); // whoever takes it will see
    this.#open.set(keyOf(message), open);
    if (!this.#closed) this.#timer ??= this.#next();
    return open;
  }

  async #claim(open: Open): Promise<Claim | null> {
    const { queue } = this.options;
    const untried = await open.untried.catch((cause) => {
      this.#nak(open, 0);
      throw cause;
    });
    // Node's Buffer, which the client hands out, gives views of the network's memory where others copy.
    const bytes = new Uint8Array(open.message.data);
    try {
      const { event, pushed } = decodeEvent(queue, bytes);
      const { message } = open;
      return claimOf({
        key: keyOf(message),
        event,
        pushed,
        attempts: Math.max(1, message.info.deliveryCount - untried),
        bytes: bytes.length,
      }, {
        ack: () => this.#ack(open),
        nak: async (delay) => this.#nak(open, delay),
        giveBack: () => this.#giveBack([open]),
      });
    } catch (cause) {
      logFor("queue").error("Cannot read an event of a queue; it is left where it is", {
        queue,
        error: textOf(cause),
      });
      this.#nak(open, LOOK_AGAIN);
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
    readonly options: {
      readonly consumer: Consumer;
      /** Messages at once. */
      readonly most: number;
      readonly clock: Clock;
      readonly add: (message: JsMsg, intake: MessageIntake) => Open | null;
    },
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
    if (this.#ended) return;
    this.#ended = true;
    if (this.#batch) void drain(this.#batch, this.options.clock);
    this.#wake();
  }

  /** Ends it and gives what nobody has asked for. */
  async stop(): Promise<Open[]> {
    this.end();
    await this.#running;
    return this.#waiting.splice(0);
  }

  async #run(): Promise<void> {
    const { consumer, add } = this.options;
    while (!this.#ended) {
      const count = this.#toAskFor();
      if (count === 0) {
        await this.#woken.promise;
        continue;
      }
      this.#batch = await consumer.fetch({
        max_messages: count,
        expires: EXPIRES,
        idle_heartbeat: HEARTBEAT,
      });
      if (this.#ended) return this.#batch.stop(); // nothing was asked for yet
      for await (const message of this.#batch) {
        const open = add(message, this);
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
    const count = Math.min(this.options.most - this.held, BATCH);
    if (this.#waiting.length === 0 && this.#wanted) return Math.max(count, 1);
    return this.#waiting.length < ASK_AGAIN && count === BATCH ? count : 0;
  }

  #wake(): void {
    this.#woken.resolve();
    this.#woken = Promise.withResolvers();
  }
}

/** Ends a fetch when all that the server has sent for it is here. */
async function drain(batch: ConsumerMessages, clock: Clock): Promise<void> {
  // The client's own `stop` forgets what is on its way, and the server would wait for its answers.
  const { sub } = batch as unknown as { readonly sub: Subscription };
  const late = new AbortController();
  await Promise.race([sub.drain().catch(() => {}), sleep(clock, LAST_MESSAGES, late.signal)]);
  late.abort();
  batch.stop();
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
