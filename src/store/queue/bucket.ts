import * as v from "valibot";
import { textOf } from "../../core/errors.ts";
import { logFor } from "../../core/log.ts";
import { decodeRecord, encodeRecord } from "../../flow/record.ts";
import type { Entry, Key, Store } from "../../flow/store.ts";

/** Events of one bucket. */
export const BUCKET_SIZE = 1_024;

/** Values read at a time, beyond the first: what is read ahead is kept in memory. */
const READ_BYTES = 4 * 1024 * 1024;

/** Digits of a bucket's number and of an index in it: text that sorts as the numbers do. */
const BUCKET_DIGITS = 12;
const INDEX_DIGITS = 4;

/** What an event that is gone leaves behind for a moment. No event is empty. */
const GONE = new Uint8Array(0);

const Summary = v.object({
  /** What the bucket held when it was full; left out once someone reads it. */
  full: v.optional(v.object({ events: v.number(), bytes: v.number() })),
});

/** An event's place in its bucket and its bytes. */
export interface Found {
  readonly index: number;
  readonly value: Uint8Array;
}

/**
 * Up to 1,024 events that follow one another. A store lists whole prefixes, so buckets are what makes
 * it possible to read a long queue piece by piece and to count it without reading it:
 *
 * - `b/<bucket>` says that there is one, and what a full one holds that nobody has read from;
 * - `e/<bucket>/<index>` is an event;
 * - `a/<bucket>` has the deliveries started of each, two bytes by index.
 */
export class Bucket {
  /** What is left in it. */
  events = 0;
  bytes = 0;
  /** Everything was read once, and nothing comes any more. */
  read = false;
  /** Index of the next event; what an earlier process began is not gone on with. */
  #next: number;
  /** Pushes under way, oldest first. */
  readonly #writing = new Set<number>();
  /** Pushes that failed and may have reached the disk nevertheless. */
  readonly #doubtful = new Set<number>();
  /** Index of the first event that was not read. */
  #position = 0;
  #entries: AsyncIterator<Entry> | null = null;
  #isSummed = false;
  #isBegun = false;
  #attempts: Uint16Array<ArrayBuffer> | null = null;
  #saving: Promise<void> | null = null;
  /** Writes of the summary, one after another. */
  #summary: Promise<unknown> = Promise.resolve();

  private constructor(
    readonly store: Store,
    readonly room: Key,
    readonly number: number,
    next: number,
  ) {
    this.#next = next;
  }

  /** A new one, or `null` when the number is taken. */
  static async make(store: Store, room: Key, number: number): Promise<Bucket | null> {
    const bucket = new Bucket(store, room, number, 0);
    bucket.#attempts = new Uint16Array(BUCKET_SIZE);
    const made = await store.create(bucket.#key("b"), encodeRecord({}));
    return made === null ? null : bucket;
  }

  /** All that earlier processes left, in order and counted. */
  static async *found(store: Store, room: Key): AsyncGenerator<Bucket> {
    for await (const { key, value } of store.list([...room, "b"])) {
      const bucket = new Bucket(store, room, Number(key.at(-1)), BUCKET_SIZE);
      const { full } = decodeRecord(value, Summary);
      if (full) {
        bucket.#isSummed = true;
        bucket.events = full.events;
        bucket.bytes = full.bytes;
      } else {
        for await (const event of bucket.#list()) bucket.#count(1, event.value.length);
      }
      yield bucket;
    }
  }

  get isFull(): boolean {
    return this.#next === BUCKET_SIZE;
  }

  /** Starts writing at once, so that what is pushed in one turn is committed together. */
  async push(value: Uint8Array): Promise<void> {
    const index = this.#next++;
    this.#writing.add(index);
    this.#count(1, value.length);
    try {
      await this.store.put(this.#key("e", index), value);
    } catch (cause) {
      this.#doubtful.add(index);
      this.#count(-1, -value.length);
      throw cause;
    } finally {
      this.#writing.delete(index);
    }
    if (this.#isStill()) await this.#sum();
  }

  /** The next events, in order: as many as there are and fit. Sets `read` behind the last. */
  async next(most: number): Promise<Found[]> {
    await this.#beforeReading();
    const found: Found[] = [];
    let bytes = 0;
    try {
      while (found.length < most && bytes < READ_BYTES && !this.read) {
        const one = await (this.#isStill() ? this.#nextListed() : this.#nextWritten());
        if (!one) break;
        if (this.#doubtful.delete(one.index)) this.#count(1, one.value.length);
        bytes += one.value.length;
        found.push(one);
      }
    } catch (cause) {
      // What was read is not read again; the trouble will come again if it lasts.
      if (found.length === 0) throw cause;
    }
    return found;
  }

  /** An event read before; `null` when it is gone. */
  async at(index: number): Promise<Uint8Array | null> {
    const entry = await this.store.get(this.#key("e", index));
    return entry && entry.value.length > 0 ? entry.value : null;
  }

  /** Deliveries started, as they are kept once `saveAttempts` has resolved. */
  attempts(index: number): number {
    return this.#attempts![index]!;
  }

  addAttempts(index: number, change: 1 | -1): void {
    const attempts = this.#attempts![index]! + change;
    if (attempts >= 0 && attempts <= 0xffff) this.#attempts![index] = attempts;
  }

  /** One write is for all that ask in one turn. */
  saveAttempts(): Promise<void> {
    return this.#saving ??= Promise.resolve().then(async () => {
      this.#saving = null;
      await this.store.put(this.#key("a"), new Uint8Array(this.#attempts!.buffer));
    });
  }

  async remove(index: number, bytes: number): Promise<void> {
    // Stores commit puts in groups and deletes one by one, so events go by a deadline that has come.
    await this.store.put(this.#key("e", index), GONE, { ttl: 1 });
    this.#count(-1, -bytes);
  }

  /** Removes what is kept of a bucket that is done with; gives the events that are there after all. */
  async close(): Promise<Found[]> {
    const left: Found[] = [];
    for await (const found of this.#list()) left.push(found);
    for (const { index, value } of left) {
      this.#doubtful.delete(index);
      this.#count(1, value.length);
    }
    if (left.length > 0) return left;
    // The summary last: as long as it is there, the next start will come and clean up.
    await this.store.delete(this.#key("a"));
    await this.store.delete(this.#key("b"));
    return [];
  }

  /** Whether nothing will be written any more, so that a list is complete. */
  #isStill(): boolean {
    return this.isFull && this.#writing.size === 0;
  }

  async #nextListed(): Promise<Found | null> {
    this.#entries ??= this.store.list(this.#key("e"))[Symbol.asyncIterator]();
    try {
      for (;;) {
        const { value: entry, done } = await this.#entries.next();
        if (done) {
          this.read = true;
          this.#entries = null;
          return null;
        }
        const found = foundIn(entry);
        if (found.index < this.#position || found.value.length === 0) continue;
        this.#position = found.index + 1;
        return found;
      }
    } catch (cause) {
      this.#entries = null;
      throw cause;
    }
  }

  async #nextWritten(): Promise<Found | null> {
    for (;;) {
      // What is pushed later may be there earlier; it waits for its turn.
      const [oldest = this.#next] = this.#writing;
      if (this.#position >= oldest) return null;
      const index = this.#position;
      const value = await this.at(index);
      this.#position = index + 1;
      if (value) return { index, value };
    }
  }

  async #beforeReading(): Promise<void> {
    if (this.#isBegun) return;
    await this.#inTurn(async () => {
      if (this.#isSummed) await this.#writeSummary({});
      if (!this.#attempts) {
        const attempts = new Uint16Array(BUCKET_SIZE);
        const kept = await this.store.get(this.#key("a"));
        if (kept) new Uint8Array(attempts.buffer).set(kept.value);
        this.#attempts = attempts;
      }
      this.#isBegun = true;
    });
  }

  /** Notes what a full bucket holds that nobody reads yet, so that the next start need not read it. */
  async #sum(): Promise<void> {
    try {
      await this.#inTurn(async () => {
        if (this.#isBegun || this.#doubtful.size > 0) return;
        this.#isSummed = true;
        await this.#writeSummary({ full: { events: this.events, bytes: this.bytes } });
      });
    } catch (cause) {
      // The push itself is done; without a sum the bucket is read at the next start.
      logFor("queue").debug("Cannot note what a part of a queue holds", { error: textOf(cause) });
    }
  }

  async *#list(): AsyncGenerator<Found> {
    for await (const entry of this.store.list(this.#key("e"))) {
      if (entry.value.length > 0) yield foundIn(entry);
    }
  }

  #inTurn(work: () => Promise<void>): Promise<void> {
    const done = this.#summary.then(work);
    this.#summary = done.catch(() => {});
    return done;
  }

  async #writeSummary(summary: v.InferInput<typeof Summary>): Promise<void> {
    await this.store.put(this.#key("b"), encodeRecord(summary));
  }

  #count(events: number, bytes: number): void {
    this.events += events;
    this.bytes += bytes;
  }

  #key(kind: "a" | "b" | "e", index?: number): Key {
    const key = [...this.room, kind, String(this.number).padStart(BUCKET_DIGITS, "0")];
    if (index !== undefined) key.push(String(index).padStart(INDEX_DIGITS, "0"));
    return key;
  }
}

function foundIn({ key, value }: Entry): Found {
  return { index: Number(key.at(-1)), value };
}
