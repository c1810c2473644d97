import type { Clock, Timer } from "../../core/clock.ts";
import { textOf } from "../../core/errors.ts";
import { logFor } from "../../core/log.ts";
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
import { type Key, type Store, storeClosed } from "../../flow/store.ts";
import { Bucket } from "./bucket.ts";
import { claimOf } from "./claim.ts";
import { decodeEvent, encodeEvent } from "./record.ts";

/** Events made ready at a time, at most; their deliveries count as started. */
const BATCH = 64;

/** Milliseconds before an event is looked at again that could not be read or removed. */
const LOOK_AGAIN = 60_000;

/** An event that was read from its bucket and is not gone. */
interface Item {
  readonly bucket: Bucket;
  readonly index: number;
  readonly bytes: number;
  /** Read again for each delivery: what waits shall not fill memory. */
  value: Uint8Array | null;
  state: "ready" | "taken" | "waiting" | "gone";
  timer: Timer | null;
}

/**
 * Queues on a store that this process alone works on: claims live in memory, so those of a process
 * that died are free at the next start.
 */
export class StoreQueues implements Queues {
  readonly #open = new Map<string, Promise<StoreQueue>>();

  constructor(readonly options: { readonly store: Store; readonly clock: Clock }) {}

  async open(name: string, limits?: QueueLimits): Promise<Queue> {
    checkQueueName(name);
    const opening = this.#open.get(name) ?? StoreQueue.open(name, this.options);
    this.#open.set(name, opening);
    try {
      const queue = await opening;
      if (limits) queue.limits = limits;
      return queue;
    } catch (cause) {
      this.#open.delete(name);
      throw cause;
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const opened = await Promise.allSettled(this.#open.values());
    await Promise.all(opened.map((one) => one.status === "fulfilled" && one.value.close()));
  }
}

class StoreQueue implements Queue {
  limits = DEFAULT_LIMITS;
  /** In order. Those in front may be read and not empty yet; the last may still be written to. */
  readonly #buckets: Bucket[] = [];
  #making: Promise<void> | null = null;
  #nextNumber = 0;
  /** What is claimed, oldest first. */
  readonly #claimed = new Set<Item>();
  readonly #ready: Item[] = [];
  /** Those of them whose time has come again. */
  readonly #due: Item[] = [];
  /** Reading, and what else must not meet it, one after another. */
  #turn: Promise<unknown> = Promise.resolve();
  #woken = Promise.withResolvers<void>();
  #closed = false;
  #dropped = 0;
  #dropLog: Timer | null = null;

  private constructor(
    readonly name: string,
    readonly room: Key,
    readonly store: Store,
    readonly clock: Clock,
  ) {}

  static async open(
    name: string,
    { store, clock }: { store: Store; clock: Clock },
  ): Promise<StoreQueue> {
    const queue = new StoreQueue(name, ["queue", name], store, clock);
    for await (const bucket of Bucket.found(store, queue.room)) {
      queue.#buckets.push(bucket);
      queue.#nextNumber = bucket.number + 1;
    }
    return queue;
  }

  async push(event: FlowEvent): Promise<void> {
    const value = encodeEvent(event, this.clock.now());
    if (value.length > this.limits.maxBytes) {
      throw eventTooLarge(this.name, value.length, this.limits.maxBytes);
    }
    // Nothing may wait between the last look at the limits and the push, which counts at once.
    for (;;) {
      if (this.#closed) throw storeClosed();
      if (this.#isFull(value.length)) await this.#makeRoom(value.length);
      else if (!this.#writable) await (this.#making ??= this.#makeBucket());
      else break;
    }
    await this.#writable!.push(value);
    this.#wake();
  }

  async *take(signal: AbortSignal, most = MOST_CLAIMED): AsyncGenerator<Claim> {
    const wake = () => this.#wake();
    signal.addEventListener("abort", wake);
    try {
      while (!signal.aborted && !this.#closed) {
        const woken = this.#woken.promise;
        if (this.#ready.length === 0) await this.#exclusively(() => this.#refill(most));
        if (signal.aborted || this.#closed) return;
        const item = this.#ready.shift();
        const claim = item && this.#hand(item);
        if (!item) await woken;
        else if (claim) yield claim;
      }
    } finally {
      signal.removeEventListener("abort", wake);
    }
  }

  size(): Promise<QueueSize> {
    return Promise.resolve(this.#size());
  }

  /** Ends the takers and waits for what is under way. */
  async close(): Promise<void> {
    this.#closed = true;
    this.#wake();
    this.#tellDropped();
    for (const { timer } of this.#claimed) timer?.clear();
    await this.#turn;
    // Made ready, but never delivered.
    await this.#count(this.#ready, -1).catch(() => {});
  }

  /** @throws when the store refuses; the item is due again then. */
  async #done(item: Item): Promise<void> {
    try {
      await this.#remove(item);
    } catch (cause) {
      this.#again(item, LOOK_AGAIN);
      throw cause;
    }
    const { bucket } = item;
    if (bucket.read && bucket.events === 0) await this.#exclusively(() => this.#close(bucket));
  }

  #again(item: Item, delay: number): void {
    if (this.#closed || item.state === "gone") return;
    item.state = "waiting";
    const due = () => {
      item.timer = null;
      this.#due.push(item);
      this.#wake();
    };
    if (delay > 0) item.timer = this.clock.after(delay, due);
    else due();
  }

  /** @throws when the store refuses; its delivery counts then. */
  async #giveBack(item: Item): Promise<void> {
    try {
      await this.#count([item], -1);
    } finally {
      this.#again(item, 0);
    }
  }

  get #writable(): Bucket | undefined {
    const last = this.#buckets.at(-1);
    return last?.isFull ? undefined : last;
  }

  async #makeBucket(): Promise<void> {
    try {
      for (;;) {
        const bucket = await Bucket.make(this.store, this.room, this.#nextNumber++);
        if (bucket) return void this.#buckets.push(bucket);
      }
    } finally {
      this.#making = null;
    }
  }

  /** Makes events ready: those whose time has come again, then those nobody has read. */
  async #refill(most: number): Promise<void> {
    if (this.#ready.length > 0 || this.#closed) return;
    const size = Math.max(1, Math.min(BATCH, most));
    const batch = await this.#readAgain(size);
    try {
      const room = Math.min(size - batch.length, MOST_CLAIMED - this.#claimed.size);
      if (room > 0) batch.push(...await this.#read(room));
      await this.#count(batch, 1);
    } catch (cause) {
      for (const item of batch) item.value = null;
      this.#due.unshift(...batch);
      throw cause;
    }
    for (const item of batch) item.state = "ready";
    this.#ready.push(...batch);
  }

  async #readAgain(most: number): Promise<Item[]> {
    const batch: Item[] = [];
    while (this.#due.length > 0 && batch.length < most) {
      const item = this.#due[0]!;
      if (item.state !== "gone") item.value = await item.bucket.at(item.index);
      this.#due.shift();
      if (item.value) batch.push(item);
      else this.#forget(item);
    }
    return batch;
  }

  async #read(most: number): Promise<Item[]> {
    const items: Item[] = [];
    for (const bucket of [...this.#buckets]) {
      if (bucket.read) continue;
      for (const { index, value } of await bucket.next(most)) {
        items.push(this.#claim(bucket, index, value));
      }
      if (bucket.read && bucket.events === 0) await this.#close(bucket);
      if (items.length > 0 || !bucket.read) break;
    }
    return items;
  }

  #claim(bucket: Bucket, index: number, value: Uint8Array): Item {
    const { length: bytes } = value;
    const item: Item = { bucket, index, bytes, value, state: "waiting", timer: null };
    this.#claimed.add(item);
    return item;
  }

  /** Keeps how often deliveries of these were started, before they are. */
  async #count(items: readonly Item[], change: 1 | -1): Promise<void> {
    const buckets = new Set(items.map(({ bucket }) => bucket));
    for (const { bucket, index } of items) bucket.addAttempts(index, change);
    try {
      await Promise.all([...buckets].map((bucket) => bucket.saveAttempts()));
    } catch (cause) {
      for (const { bucket, index } of items) bucket.addAttempts(index, change === 1 ? -1 : 1);
      throw cause;
    }
  }

  /** `null` for what was dropped meanwhile or cannot be read. */
  #hand(item: Item): Claim | null {
    const { value } = item;
    if (!value) return null;
    item.state = "taken";
    item.value = null;
    try {
      const { event, pushed } = decodeEvent(this.name, value);
      const { bucket, index, bytes } = item;
      return claimOf({
        // With the time: numbers begin anew where a queue was empty when it was opened.
        key: `${bucket.number}/${index}@${pushed}`,
        event,
        pushed,
        attempts: bucket.attempts(index),
        bytes,
      }, {
        ack: () => this.#done(item),
        nak: async (delay) => this.#again(item, delay),
        giveBack: () => this.#giveBack(item),
      });
    } catch (cause) {
      logFor("queue").error("Cannot read an event of a queue; it is left where it is", {
        queue: this.name,
        error: textOf(cause),
      });
      this.#again(item, LOOK_AGAIN);
      return null;
    }
  }

  async #makeRoom(bytes: number): Promise<void> {
    const { whenFull } = this.limits;
    if (whenFull === "drop_oldest" && await this.#exclusively(() => this.#dropOldest(bytes))) {
      return;
    }
    throw queueFull(this.name, this.#size());
  }

  /** Whether there may be room now; not when all events are being worked on. */
  async #dropOldest(bytes: number): Promise<boolean> {
    // Who waited for room before us may have made enough.
    if (!this.#isFull(bytes)) return true;
    let oldest = this.#claimed.values().find(({ state }) => state !== "taken");
    if (!oldest) {
      oldest = (await this.#read(1))[0];
      if (!oldest) return false;
      this.#due.push(oldest);
    }
    await this.#remove(oldest);
    this.#dropped++;
    this.#dropLog ??= this.clock.after(LOOK_AGAIN, () => this.#tellDropped());
    return true;
  }

  #tellDropped(): void {
    this.#dropLog?.clear();
    this.#dropLog = null;
    if (this.#dropped === 0) return;
    const fields = { queue: this.name, events: this.#dropped };
    logFor("queue").warning("A full queue dropped its oldest events", fields);
    this.#dropped = 0;
  }

  async #remove(item: Item): Promise<void> {
    await item.bucket.remove(item.index, item.bytes);
    this.#forget(item);
  }

  #forget(item: Item): void {
    item.state = "gone";
    item.value = null;
    item.timer?.clear();
    this.#claimed.delete(item);
    this.#wake();
  }

  async #close(bucket: Bucket): Promise<void> {
    const at = this.#buckets.indexOf(bucket);
    if (at < 0 || bucket.events > 0) return;
    try {
      const left = await bucket.close();
      // Pushes that failed and are there nevertheless.
      for (const { index, value } of left) this.#again(this.#claim(bucket, index, value), 0);
      if (left.length === 0) this.#buckets.splice(at, 1);
    } catch (cause) {
      // Nothing but room on disk is lost, until the next start.
      logFor("queue").debug("Cannot remove an empty part of a queue", { error: textOf(cause) });
    }
  }

  #size(): QueueSize {
    let events = 0;
    let bytes = 0;
    for (const bucket of this.#buckets) {
      events += bucket.events;
      bytes += bucket.bytes;
    }
    return { events, bytes };
  }

  #isFull(more: number): boolean {
    const { events, bytes } = this.#size();
    return events >= this.limits.maxEvents || bytes + more > this.limits.maxBytes;
  }

  #exclusively<T>(work: () => Promise<T>): Promise<T> {
    const done = this.#turn.then(work);
    this.#turn = done.catch(() => {});
    return done;
  }

  #wake(): void {
    this.#woken.resolve();
    this.#woken = Promise.withResolvers();
  }
}
