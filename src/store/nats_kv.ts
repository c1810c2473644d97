import type { Clock } from "../core/clock.ts";
import { FlowError, InternalError } from "../core/errors.ts";
import { checkPrefix, checkValue, compareKeys, isWithin } from "../flow/key.ts";
import type { Entry, Expiry, Key, Revision, Store } from "../flow/store.ts";
import { acquireNats, type NatsLease } from "../nats/connect.ts";
import type { NatsOptions } from "../nats/options.ts";
import { Calls } from "./calls.ts";
import { storeFault } from "./errors.ts";
import { checkExpiry, deadline, isExpired } from "./expiry.ts";
import { Blobs } from "./nats/blobs.ts";
import { Changes } from "./nats/changes.ts";
import { Channel, type Message } from "./nats/channel.ts";
import { decodeHead, decodeRevision, encodeRevision, type Head, HEAD_HEADER } from "./nats/head.ts";
import { keyOfWire, PARTS, wireName, wiresBelow } from "./nats/names.ts";
import { Sweep } from "./nats/sweep.ts";
import { Writer } from "./nats/writer.ts";

export interface NatsKvOptions {
  /** A lease stays its owner's; with options, the store has one of its own. */
  readonly nats: NatsOptions | NatsLease;
  readonly bucket: string;
  /** Decides what is visible; the server's own TTL only cleans up. */
  readonly clock: Clock;
  /** Used when the bucket is made: versions kept of a key, 1 to 64. Default 64. */
  readonly history?: number;
  /** Used when the bucket is made. Default 1. */
  readonly replicas?: number;
  /** Milliseconds that markers of deleted and expired keys stay. Default an hour. */
  readonly tombstoneTtl?: number;
  /**
   * Milliseconds for which a bucket that somebody took away must have been gone before it is made
   * again: longer than any right lasts that a record in it gave. Default half a minute.
   */
  readonly remakeAfter?: number;
  /** Gives up waiting for the first connection. */
  readonly signal?: AbortSignal;
}

/** Entries read ahead while a list is being read; fewer when they turn out to be large. */
const LIST_WINDOW = 64;
const LIST_WINDOW_LARGE = 4;
const LARGE = 65_536;

/**
 * Opens a store in a NATS KV bucket, which several processes may share.
 *
 * @throws {FlowError} `nats.unavailable` (try again), `nats.no_jetstream`, `store.bucket_invalid`, and
 * what `acquireNats` throws
 */
export async function openNatsKv(options: NatsKvOptions): Promise<Store> {
  const { nats, bucket, clock, signal } = options;
  const { history = 64, replicas = 1, tombstoneTtl = 3_600_000 } = options;
  const { remakeAfter = 30_000 } = options;
  const lease = "connection" in nats ? nats : await acquireNats(nats, { signal });
  const own = lease === nats ? undefined : lease;
  try {
    const settings = { bucket, history, replicas, tombstoneTtl, remakeAfter };
    const channel = await Channel.open(lease, settings);
    return new NatsKvStore({ channel, clock, tombstoneTtl, lease: own });
  } catch (cause) {
    await own?.[Symbol.asyncDispose]();
    throw cause;
  }
}

/** Keeps entries in a NATS KV bucket. Values are stored as they are; see `Head` for what is said of them. */
class NatsKvStore implements Store {
  readonly #channel: Channel;
  readonly #clock: Clock;
  readonly #lease: NatsLease | undefined;
  readonly #blobs: Blobs;
  readonly #writer: Writer;
  readonly #changes: Changes;
  readonly #sweep: Sweep;
  readonly #calls = new Calls(asStoreError);

  constructor({ channel, clock, tombstoneTtl, lease }: {
    channel: Channel;
    clock: Clock;
    tombstoneTtl: number;
    /** Disposed with the store. */
    lease: NatsLease | undefined;
  }) {
    this.#channel = channel;
    this.#clock = clock;
    this.#lease = lease;
    this.#blobs = new Blobs(channel);
    this.#writer = new Writer(channel, this.#blobs, tombstoneTtl);
    this.#changes = new Changes(channel, clock);
    this.#sweep = new Sweep({ channel, blobs: this.#blobs, clock, tombstoneTtl });
  }

  get(key: Key): Promise<Entry | null> {
    return this.#calls.with(key, (own) => this.#read(own, wireName(own)));
  }

  put(key: Key, value: Uint8Array, expiry?: Expiry): Promise<Revision> {
    return this.#write(key, value, expiry, (write) => write(undefined));
  }

  create(key: Key, value: Uint8Array, expiry?: Expiry): Promise<Revision | null> {
    return this.#write(key, value, expiry, async (write, wire) => {
      for (let expected = 0;;) {
        const revision = await write(expected);
        if (revision !== null) return revision;
        // Taken, or there is the marker of a deleted key, or an expired entry: only the first is final.
        const found = await this.#channel.last(this.#subject(wire));
        if (found && this.#headOf(found) !== null) return null;
        expected = found?.seq ?? 0;
      }
    });
  }

  update(key: Key, value: Uint8Array, seen: Revision, expiry?: Expiry): Promise<Revision | null> {
    return this.#write(key, value, expiry, async (write) => {
      const expected = this.#current(seen);
      return expected === null ? null : await write(expected);
    });
  }

  delete(key: Key, seen?: Revision): Promise<boolean> {
    return this.#calls.with(key, async (own) => {
      const wire = wireName(own);
      if (seen !== undefined) {
        const expected = this.#current(seen);
        return expected !== null && await this.#writer.remove(wire, expected);
      }
      while (true) {
        const found = await this.#channel.last(this.#subject(wire));
        if (!found || this.#headOf(found) === null) return false;
        if (await this.#writer.remove(wire, found.seq)) return true;
      }
    });
  }

  async *list(prefix: Key): AsyncGenerator<Entry> {
    checkPrefix(prefix);
    const own = [...prefix];
    const keys = await this.#calls.track(() => this.#keysBelow(own));
    const ahead: Promise<Message | null>[] = [];
    let window = LIST_WINDOW;
    for (let at = 0, next = 0; at < keys.length; at++) {
      for (; next < Math.min(keys.length, at + window); next++) {
        const reading = this.#channel.last(this.#subject(keys[next]![1]));
        reading.catch(() => {}); // heard when its turn comes, unless the reader leaves before
        ahead[next] = reading;
      }
      const [key, wire] = keys[at]!;
      const entry = await this.#calls.track(async () => {
        const message = (await ahead[at])!;
        window = message?.data.length > LARGE ? LIST_WINDOW_LARGE : LIST_WINDOW;
        return await this.#entry(key, wire, message);
      });
      delete ahead[at];
      if (entry) yield entry;
    }
  }

  watch(prefix: Key, signal: AbortSignal): AsyncIterable<Key | null> {
    this.#calls.assertOpen();
    checkPrefix(prefix);
    return this.#changes.watch(prefix, signal);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#calls.closed.aborted) return;
    await Promise.all([this.#calls.close(), this.#changes.close(), this.#sweep.close()]);
    await this.#lease?.[Symbol.asyncDispose]();
  }

  async #read(key: Key, wire: string): Promise<Entry | null> {
    return await this.#entry(key, wire, await this.#channel.last(this.#subject(wire)));
  }

  /** The visible entry of a message, with its parts read. */
  async #entry(key: Key, wire: string, found: Message | null): Promise<Entry | null> {
    for (let last = 0; found; found = await this.#channel.last(this.#subject(wire))) {
      const head = this.#headOf(found);
      if (!head) return null;
      // A copy: the client hands out views of what came from the network.
      const value = head.blob
        ? await this.#readBlob(wire, found, head)
        : new Uint8Array(found.data);
      if (value) return { key, value, revision: encodeRevision(found.seq, head.until) };
      // Someone replaced the value while we read its parts, and its head with it.
      if (found.seq === last) throw new InternalError("store.parts_missing");
      last = found.seq;
    }
    return null;
  }

  #readBlob(wire: string, { seq }: Message, { blob }: Head): Promise<Uint8Array | null> {
    this.#blobs.note(wire, blob!.id, seq);
    return this.#blobs.read(wire, blob!);
  }

  /** What is said of a message's value; `null` when it is a marker, or expired. */
  #headOf(message: Message): Head | null {
    if (message.header("KV-Operation") || message.header("Nats-Marker-Reason")) return null;
    const head = decodeHead(message.header(HEAD_HEADER));
    return isExpired(head.until, this.#clock) ? null : head;
  }

  /** Keys strictly below a prefix with their wire names, in order; also deleted and expired ones. */
  async #keysBelow(prefix: Key): Promise<(readonly [Key, string])[]> {
    const { subjects } = this.#channel.bucket;
    const found = await Promise.all(
      wiresBelow(prefix).map((wire) => this.#channel.subjects(subjects + wire)),
    );
    return found.flat().flatMap((subject) => {
      const wire = subject.slice(subjects.length);
      const key = wire.startsWith(`${PARTS}.`) ? null : keyOfWire(wire);
      return key && key.length > prefix.length && isWithin(prefix, key)
        ? [[key, wire] as const]
        : [];
    }).sort(([a], [b]) => compareKeys(a, b));
  }

  /** Prepares what there is to write of `value`, and lets `commit` say over which message. */
  #write<R extends Revision | null>(
    key: Key,
    given: Uint8Array,
    expiry: Expiry | undefined,
    commit: (
      write: <E extends number | undefined>(
        expected: E,
      ) => Promise<E extends undefined ? Revision : Revision | null>,
      wire: string,
    ) => Promise<R>,
  ): Promise<R> {
    return this.#calls.with(key, async (own) => {
      const wire = wireName(own);
      checkValue(own, given);
      checkExpiry(expiry);
      const value = given.slice(); // the caller may go on changing it
      const until = deadline(this.#clock, expiry);
      await using draft = await this.#writer.draft({ wire, value, until, ttl: expiry?.ttl });
      return await commit((expected) => draft.write(expected) as never, wire);
    });
  }

  /** The number of a revision's message whose entry can still be visible. */
  #current(seen: Revision): number | null {
    const revision = decodeRevision(seen);
    return revision && !isExpired(revision.until, this.#clock) ? revision.seq : null;
  }

  #subject(wire: string): string {
    return this.#channel.bucket.subjects + wire;
  }
}

/** What passes by itself is the store's being away; the rest says best itself what is wrong. */
function asStoreError(cause: unknown): FlowError {
  if (!(cause instanceof FlowError) || !cause.code.startsWith("nats.")) return storeFault(cause);
  if (cause.remedy !== "retry") return cause;
  return new FlowError("store.unavailable", cause.message, { cause });
}
