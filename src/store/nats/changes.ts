import type { Msg, Subscription } from "@nats-io/nats-core";
import { type Clock, sleep, systemClock, type Timer } from "../../core/clock.ts";
import { textOf } from "../../core/errors.ts";
import { logFor } from "../../core/log.ts";
import { natsError } from "../../nats/errors.ts";
import type { Key } from "../../flow/store.ts";
import { isWithin } from "../../flow/key.ts";
import { Nudges } from "../nudges.ts";
import type { Channel } from "./channel.ts";
import { keyOfWire, wireName, wiresBelow } from "./names.ts";

/** Every watcher looks at everything this often, whatever it heard: NATS is not to be relied upon. */
const LOOK_INTERVAL = 60_000;

/** The server says this often that it is there, and is taken for gone after three times that. */
const HEARTBEAT = 2_000;
const STALLED = 3 * HEARTBEAT;

/** Between attempts to listen again. */
const FIRST_PAUSE = 100;
const LONGEST_PAUSE = 2_000;

/** More prefixes than this are watched as a whole. */
const MOST_PREFIXES = 16;

/** One thing listened to: what it covers, and a promise that settles when it hears no more. */
interface Listening {
  readonly covers: readonly Key[];
  readonly over: Promise<string>;
  stop(why: string): void;
}

/**
 * Watches of one bucket, served by one consumer: it brings subjects without values and covers what is
 * watched at the moment. Whatever may have come between two consumers is answered by a nudge to look
 * at everything, so nothing has to be resumed.
 */
export class Changes {
  readonly #channel: Channel;
  readonly #clock: Clock;
  readonly #nudges = new Nudges();
  readonly #watched = new Map<symbol, Key>();
  readonly #closed = new AbortController();
  #listening: Listening | undefined;
  #loop: Promise<void> | undefined;
  #look: Timer | undefined;

  constructor(channel: Channel, clock: Clock) {
    this.#channel = channel;
    this.#clock = clock;
  }

  /**
   * See `Store.watch`. The first nudge is always to look at everything: until the server listens,
   * changes pass by.
   */
  watch(prefix: Key, signal: AbortSignal): AsyncIterable<Key | null> {
    const end = new AbortController();
    const nudges = this.#nudges.watch(prefix, AbortSignal.any([signal, end.signal]));
    if (signal.aborted) return nudges;
    const id = Symbol();
    const forget = () => {
      this.#closed.signal.removeEventListener("abort", close);
      signal.removeEventListener("abort", forget);
      this.#watched.delete(id);
      if (this.#watched.size === 0) this.#rest();
    };
    const close = () => end.abort();
    this.#closed.signal.addEventListener("abort", close);
    signal.addEventListener("abort", forget, { once: true });
    this.#watched.set(id, [...prefix]);
    this.#listen();
    return onReturn(nudges, forget);
  }

  async close(): Promise<void> {
    this.#closed.abort();
    this.#watched.clear();
    this.#rest();
    await this.#loop;
  }

  /** Nobody watches any more. */
  #rest(): void {
    this.#look?.clear();
    this.#look = undefined;
    this.#listening?.stop("nobody watches");
  }

  #listen(): void {
    if (!this.#look) this.#lookLater();
    const needed = cover([...this.#watched.values()]);
    const now = this.#listening;
    if (now && needed.every((one) => now.covers.some((wide) => isWithin(wide, one)))) {
      // It hears what comes from now on, and the watcher has yet to look.
      this.#nudges.tell(null);
      return;
    }
    now?.stop("more is watched");
    this.#loop ??= this.#run();
  }

  #lookLater(): void {
    this.#look = this.#clock.after(LOOK_INTERVAL, () => {
      this.#nudges.tell(null);
      this.#lookLater();
    });
  }

  /** Listens, and again whenever that ends, as long as anybody watches. */
  async #run(): Promise<void> {
    let pause = FIRST_PAUSE;
    let told = false;
    const { signal } = this.#closed;
    while (this.#watched.size > 0) {
      try {
        const listening = await this.#open(cover([...this.#watched.values()]));
        this.#listening = listening;
        this.#nudges.tell(null);
        // Those that came or went meanwhile.
        if (this.#watched.size === 0) listening.stop("nobody watches");
        else if (!this.#isCovered(listening)) listening.stop("more is watched");
        if (told) logFor("store").info("Hears of changes again", { stream: this.#stream });
        told = false;
        pause = FIRST_PAUSE;
        const why = await listening.over;
        logFor("store").debug("Listens to changes again", { stream: this.#stream, why });
      } catch (cause) {
        if (signal.aborted) break;
        const error = textOf(natsError(cause, "listen to changes"));
        if (!told) {
          logFor("store").warning("Cannot hear of changes", { stream: this.#stream, error });
        }
        told = true;
        await sleep(systemClock, pause, signal);
        pause = Math.min(2 * pause, LONGEST_PAUSE);
      } finally {
        this.#listening = undefined;
      }
    }
    this.#loop = undefined;
  }

  #isCovered({ covers }: Listening): boolean {
    return [...this.#watched.values()].every((one) => covers.some((wide) => isWithin(wide, one)));
  }

  async #open(covers: readonly Key[]): Promise<Listening> {
    const { lease, bucket, client } = this.#channel;
    await lease.ready(LONGEST_PAUSE, this.#closed.signal);
    const inbox = client.createInbox();
    const over = Promise.withResolvers<string>();
    let expected = 1;
    let subscription: Subscription | undefined;
    let alive = systemClock.monotonic();
    const hear = (error: Error | null, message: Msg) => {
      if (error) return stop(textOf(error));
      alive = systemClock.monotonic();
      const number = message.headers?.code === 100
        ? Number(message.headers.get("Nats-Last-Consumer")) + 1
        : deliveryNumber(message.reply) + 1;
      const lost = message.headers?.code === 100 ? number !== expected : number !== expected + 1;
      expected = number;
      if (lost) return this.#nudges.tell(null);
      if (message.headers?.code === 100) return;
      const key = keyOfWire(message.subject.slice(bucket.subjects.length));
      if (key) this.#nudges.tell(key);
    };
    const check = () => {
      if (systemClock.monotonic() - alive >= STALLED) return stop("it stalled");
      stalled = systemClock.after(HEARTBEAT, check);
    };
    let stalled = systemClock.after(HEARTBEAT, check);
    // A consumer does not outlive its server, and what came meanwhile is unknown either way.
    const offChange = lease.onChange((trouble) => trouble === null && stop("it was disconnected"));
    const stop = (why: string) => {
      offChange();
      stalled.clear();
      if (!lease.connection.isClosed()) subscription?.unsubscribe();
      over.resolve(why);
    };
    try {
      subscription = lease.connection.subscribe(inbox, { callback: hear });
      await this.#addConsumer(inbox, covers);
    } catch (cause) {
      stop("it did not start");
      throw cause;
    }
    return { covers, over: over.promise, stop };
  }

  async #addConsumer(inbox: string, covers: readonly Key[]): Promise<void> {
    const { AckPolicy, DeliverPolicy } = await import("@nats-io/jetstream");
    const { bucket, manager } = this.#channel;
    const all = !bucket.filters || covers.some((prefix) => prefix.length === 0);
    const wires = all ? [">"] : covers.flatMap((one) => [wireName(one), ...wiresBelow(one)]);
    const filters = wires.map((wire) => bucket.subjects + wire);
    await manager.consumers.add(bucket.stream, {
      deliver_subject: inbox,
      deliver_policy: DeliverPolicy.New,
      ack_policy: AckPolicy.None,
      headers_only: true,
      idle_heartbeat: HEARTBEAT * 1e6,
      inactive_threshold: 30e9,
      mem_storage: true,
      num_replicas: 1,
      max_deliver: 1,
      ...(filters.length === 1 ? { filter_subject: filters[0] } : { filter_subjects: filters }),
    });
  }

  get #stream(): string {
    return this.#channel.bucket.stream;
  }
}

/** The fewest prefixes that hold all of these; the server takes no two that overlap. */
function cover(prefixes: readonly Key[]): Key[] {
  const widest = prefixes.filter((one, i) => {
    return !prefixes.some((other, j) => {
      return isWithin(other, one) && (other.length < one.length || j < i);
    });
  });
  return widest.length > MOST_PREFIXES ? [[]] : widest;
}

/** `$JS.ACK.<stream>.<consumer>.<deliveries>.<number in stream>.<number in consumer>…` */
function deliveryNumber(reply: string | undefined): number {
  const parts = reply?.split(".") ?? [];
  // With a domain, two parts more come in front.
  return Number(parts[parts.length === 9 ? 6 : 8]);
}

/** The same nudges; `end` is called when their reader leaves. */
function onReturn<T>(nudges: AsyncIterable<T>, end: () => void): AsyncIterable<T> {
  const inner = nudges[Symbol.asyncIterator]();
  const outer: AsyncIterableIterator<T> = {
    next: () => inner.next(),
    return: () => {
      end();
      return inner.return!();
    },
    [Symbol.asyncIterator]: () => outer,
  };
  return outer;
}
