import type { Msg, NatsConnection } from "@nats-io/nats-core";
import type { Clock, Timer } from "../../core/clock.ts";

const encoder = new TextEncoder();

/** What a consumer understands; see "Acknowledging Messages" in the NATS documentation. */
const ACK = encoder.encode("+ACK");
const NAK = encoder.encode("-NAK");
const WORKING = encoder.encode("+WPI");

/** A message that this node has and that waits for its answer. */
export class Taken {
  /** Round of the heartbeats in which it came. */
  round = 0;
  /** Deliveries that do not count; `null` before anybody looked. */
  untried: number | null = null;
  /** Whether it ran alone before and that never ended, or nobody tells. */
  wasAlone = false;
  /** Whether it runs with nothing else of its reader under way. */
  alone = false;
  readonly bytes: number;

  /** Both are of the newest delivery, where the server sent it more than once. */
  constructor(public message: Msg, public info: DeliveryFacts) {
    this.bytes = message.data.length;
  }

  /** Deliveries that count, as far as is known. */
  get tries(): number {
    return this.info.deliveries - (this.untried ?? 0);
  }
}

/** What the reply subject of a message tells. */
export interface DeliveryFacts {
  readonly stream: string;
  readonly consumer: string;
  /** From 1. */
  readonly deliveries: number;
  readonly sequence: number;
  /** The same for all deliveries of one message, also when a stream of that name is made anew. */
  readonly key: string;
}

/** `null` for what no consumer sent. */
export function factsOf(reply: string | undefined): DeliveryFacts | null {
  const parts = reply?.split(".") ?? [];
  if (parts[0] !== "$JS" || parts[1] !== "ACK") return null;
  // Newer servers put domain and account in front of the stream.
  const at = parts.length === 9 ? 2 : 4;
  if (parts.length < 9) return null;
  return {
    stream: parts[at]!,
    consumer: parts[at + 1]!,
    deliveries: Number(parts[at + 2]),
    sequence: Number(parts[at + 3]),
    key: `${parts[at + 3]}@${parts[at + 5]}`,
  };
}

/**
 * The messages this node has. While one is here the server is told so at a third of `ackWait`, with one
 * timer for all, so that it does not take a slow delivery for a lost one.
 */
export class TakenMessages {
  readonly #open = new Map<string, Taken>();
  #bytes = 0;
  #round = 0;
  #timer: Timer | null = null;
  #closed = false;

  constructor(
    readonly options: {
      readonly connection: NatsConnection;
      readonly clock: Clock;
      /** Milliseconds after which the server sends a message again. */
      readonly ackWait: number;
    },
  ) {}

  get count(): number {
    return this.#open.size;
  }

  get bytes(): number {
    return this.#bytes;
  }

  /** `null` where it is a message that is here already; its answer goes to the newer delivery then. */
  add(message: Msg, info: DeliveryFacts): Taken | null {
    const known = this.#open.get(info.key);
    if (known) {
      known.message = message;
      known.info = info;
      return null;
    }
    const taken = new Taken(message, info);
    taken.round = this.#round;
    this.#open.set(info.key, taken);
    this.#bytes += taken.bytes;
    if (!this.#closed) this.#timer ??= this.#next();
    return taken;
  }

  ack(taken: Taken): void {
    this.#answer(taken, ACK);
  }

  /** Sends it again after `delay` milliseconds, to any replica. */
  nak(taken: Taken, delay: number): void {
    const nanoseconds = Math.round(delay) * 1e6;
    this.#answer(
      taken,
      delay > 0 ? encoder.encode(`-NAK ${JSON.stringify({ delay: nanoseconds })}`) : NAK,
    );
  }

  /** Sends it to nobody any more. */
  term(taken: Taken, reason: string): void {
    this.#answer(taken, encoder.encode(`+TERM ${reason}`));
  }

  /** Ends the heartbeats. */
  close(): void {
    this.#closed = true;
    this.#timer?.clear();
    this.#timer = null;
  }

  #answer(taken: Taken, answer: Uint8Array): void {
    if (!this.#open.delete(taken.info.key)) return;
    this.#bytes -= taken.bytes;
    this.#send(taken, answer);
  }

  /** What cannot be sent any more is sent to the next one who asks. */
  #send({ message }: Taken, answer: Uint8Array): void {
    try {
      this.options.connection.publish(message.reply!, answer);
    } catch {
      // The connection was closed for good.
    }
  }

  #next(): Timer {
    return this.options.clock.after(this.options.ackWait / 3, () => this.#beat());
  }

  #beat(): void {
    this.#timer = null;
    for (const taken of this.#open.values()) {
      if (taken.round !== this.#round) this.#send(taken, WORKING);
    }
    this.#round++;
    if (this.#open.size > 0) this.#timer = this.#next();
  }
}
