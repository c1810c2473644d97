import type { Msg, NatsConnection, Subscription } from "@nats-io/nats-core";
import { type Clock, sleep, type Timer } from "../../core/clock.ts";
import { FlowError } from "../../core/errors.ts";
import { natsError } from "../../nats/errors.ts";

export interface PullerOptions {
  readonly connection: NatsConnection;
  readonly stream: string;
  readonly consumer: string;
  readonly clock: Clock;
  /** So many become free before more is asked for. */
  readonly step: number;
  /** Bytes asked for at once, so that several requests fit into the window. */
  readonly stepBytes: number;
  /** Bytes of the largest message the server takes. */
  readonly maxPayload: number;
  /** Milliseconds between two requests, at least. */
  readonly delay: number;
  /** A message of the stream, as it came. */
  readonly onMessage: (message: Msg) => void;
  /** More may be asked for. */
  readonly onRoom: () => void;
  /** Nothing more will come: make a new one. Called once. */
  readonly onBroken: (error: FlowError) => void;
}

/** What the window has left. */
export interface Room {
  readonly events: number;
  readonly bytes: number;
  /** Nothing is held, so that one message may come whatever its size. */
  readonly empty: boolean;
}

/** How long the server keeps a request, and how often it says that it still does. Milliseconds. */
const EXPIRES = 30_000;
const HEARTBEAT = 5_000;
/** Without a sign of life for this long the requests are lost. */
const SILENCE = 2.5 * HEARTBEAT;
/** On its way when we stop: milliseconds to wait for it. */
const LAST_MESSAGES = 2_000;

const encoder = new TextEncoder();

/** Every message of the client knows its size as the server counts it. */
type Sized = Msg & { size(): number };

/**
 * Asks a pull consumer for exactly as many messages as there is room for. The client's own `consume`
 * keeps a number of messages on the way whatever becomes of them; what lies there is late for its
 * acknowledgement, and missing where another replica has room.
 *
 * See "JetStream Consumer Pull" in https://github.com/nats-io/nats-architecture-and-design (ADR-13).
 */
export class Puller {
  readonly #inbox: string;
  readonly #subscription: Subscription;
  /** Requests the server may still answer, by their own inbox. */
  readonly #requests = new Map<string, { readonly sent: number; readonly bytes: number }>();
  /** Messages and bytes asked for and not here yet. */
  #wanted = 0;
  #wantedBytes = 0;
  #serial = 0;
  #heard: number;
  /** Before this instant nothing is asked for. */
  #next = 0;
  #later: Timer | null = null;
  #watch: Timer;
  #over = false;
  /** The next message did not fit, so it is asked for alone. */
  #tooLarge = false;

  constructor(readonly options: PullerOptions, inbox: string) {
    const { connection, clock } = options;
    this.#inbox = `${inbox}.`;
    this.#heard = clock.monotonic();
    this.#subscription = connection.subscribe(`${inbox}.*`, {
      callback: (error, message) => this.#receive(error, message),
    });
    this.#watch = clock.after(HEARTBEAT, () => this.#look());
  }

  /** Asks for what fits into the room beside what was asked for before. */
  pull(room: Room): void {
    while (!this.#over && this.#ask(room));
  }

  /** Whether there may be room for another request. */
  #ask({ events, bytes, empty }: Room): boolean {
    const { step, stepBytes, maxPayload, connection, stream, consumer, clock } = this.options;
    const batch = Math.min(events - this.#wanted, step);
    if (batch < 1 || (batch < step && this.#wanted > 0)) return false;
    const left = Math.min(bytes - this.#wantedBytes, stepBytes);
    const alone = this.#tooLarge || left < maxPayload;
    if (alone && !(empty && this.#wanted === 0)) return false;
    if (this.#mustWait()) return false;
    const now = clock.monotonic();
    const inbox = this.#inbox + ++this.#serial;
    const request = {
      batch: alone ? 1 : batch,
      expires: EXPIRES * 1e6,
      idle_heartbeat: HEARTBEAT * 1e6,
      ...(!alone && { max_bytes: left }),
    };
    try {
      connection.publish(
        `$JS.API.CONSUMER.MSG.NEXT.${stream}.${consumer}`,
        encoder.encode(JSON.stringify(request)),
        { reply: inbox },
      );
    } catch (cause) {
      this.#break(natsError(cause, `ask the consumer "${consumer}" for messages`));
      return false;
    }
    if (this.#requests.size === 0) this.#heard = now;
    this.#requests.set(inbox, { sent: now, bytes: alone ? Infinity : left });
    this.#wanted += request.batch;
    this.#wantedBytes += alone ? 0 : left;
    this.#tooLarge = false;
    if (this.options.delay > 0) this.#next = now + this.options.delay;
    return batch === step;
  }

  /** Ends it at once; what was on its way is lost until the server sends it again. */
  stop(): void {
    this.#over = true;
    this.#watch.clear();
    this.#later?.clear();
    this.#subscription.unsubscribe();
  }

  /** Ends it when all that the server has sent is here. */
  async drain(): Promise<void> {
    this.#over = true;
    this.#watch.clear();
    this.#later?.clear();
    const late = new AbortController();
    await Promise.race([
      this.#subscription.drain().catch(() => {}),
      sleep(this.options.clock, LAST_MESSAGES, late.signal),
    ]);
    late.abort();
    this.#subscription.unsubscribe();
  }

  #receive(error: Error | null, message: Msg): void {
    const { consumer, clock, onMessage, onRoom } = this.options;
    if (error) return this.#break(natsError(error, `receive from the consumer "${consumer}"`));
    this.#heard = clock.monotonic();
    if (message.subject.startsWith(this.#inbox)) return this.#status(message);
    this.#got(1, (message as Sized).size());
    onMessage(message);
    if (!this.#over) onRoom();
  }

  #status({ subject, headers }: Msg): void {
    const code = headers?.code ?? 0;
    const text = headers?.description ?? "";
    const request = this.#requests.get(subject);
    if (this.#over || code === 100 || !request) return;
    switch (verdictOf(code, text)) {
      case "ended": {
        const bytes = Number(headers!.get("Nats-Pending-Bytes"));
        this.#requests.delete(subject);
        // Most requests end so when their bytes are used up; this one never got any.
        this.#tooLarge = /exceeds maxbytes/i.test(text) && bytes >= request.bytes;
        this.#got(Number(headers!.get("Nats-Pending-Messages")), bytes);
        break;
      }
      case "void":
        this.#forget();
        break;
      case "broken":
        return this.#break(statusError(this.options, code, text));
    }
    this.options.onRoom();
  }

  /** So many are not to be waited for any more. */
  #got(messages: number, bytes: number): void {
    this.#wanted = Math.max(0, this.#wanted - messages);
    this.#wantedBytes = Math.max(0, this.#wantedBytes - bytes);
    if (this.#wanted === 0) this.#forget();
  }

  #forget(): void {
    this.#requests.clear();
    this.#wanted = this.#wantedBytes = 0;
  }

  #mustWait(): boolean {
    const { clock } = this.options;
    const wait = this.#next - clock.monotonic();
    if (this.#next === 0 || wait <= 0) return false;
    this.#later ??= clock.after(wait, () => {
      this.#later = null;
      this.options.onRoom();
    });
    return true;
  }

  /** Requests whose end got lost must not hold room for ever; a silent server holds all of it. */
  #look(): void {
    const { clock, consumer } = this.options;
    const now = clock.monotonic();
    if (this.#requests.size > 0 && now - this.#heard > SILENCE) {
      return this.#break(
        new FlowError(
          "nats.unavailable",
          `Cannot receive from the consumer "${consumer}": it has stopped answering`,
        ),
      );
    }
    const [oldest] = this.#requests.values();
    if (oldest && now - oldest.sent > EXPIRES + SILENCE) {
      this.#forget();
      this.options.onRoom();
    }
    this.#watch = clock.after(HEARTBEAT, () => this.#look());
  }

  #break(error: FlowError): void {
    if (this.#over) return;
    this.stop();
    this.options.onBroken(error);
  }
}

/** `ended`: one request; `void`: all of them, since who was asked is gone; `broken`: asking is no use. */
function verdictOf(code: number, text: string): "ended" | "void" | "broken" {
  if (code === 408 || code === 404) return "ended";
  if (code !== 409) return "broken";
  if (/^(batch completed|message size exceeds)/i.test(text)) return "ended";
  return /^(leadership change|server shutdown)/i.test(text) ? "void" : "broken";
}

function statusError(
  { consumer, stream }: PullerOptions,
  code: number,
  text: string,
): FlowError {
  const why = code === 503 ? "it does not answer" : text.toLowerCase() || `status ${code}`;
  const kind = code === 503
    ? "nats.unavailable"
    : /consumer deleted/i.test(text)
    ? "nats.consumer_missing"
    : "nats.refused";
  return new FlowError(
    kind,
    `Cannot receive from the consumer "${consumer}" of stream "${stream}": ${why}`,
  );
}
