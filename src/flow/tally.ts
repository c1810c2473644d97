import * as v from "valibot";
import { decodeRecord, encodeRecord } from "./record.ts";
import type { Key, Store } from "./store.ts";

/** Milliseconds for which a count is remembered after its last change. */
const KEPT = 86_400_000;
/** Messages that one node remembers, the newest. */
const MOST = 10_000;

/** Counts by message. */
const Record = v.object({ messages: v.record(v.string(), v.number()) });

/**
 * How often something befell messages that any node may get, such as being given back without having
 * been tried to the end. Servers and queues count deliveries, and know nothing of what they prove.
 */
export class Tally {
  readonly #own: Key;
  #noting: (readonly [message: string, change: number])[] = [];
  #writing: Promise<void> = Promise.resolve();
  #write: Promise<void> | null = null;
  #looking: Promise<unknown> = Promise.resolve();
  #next: Promise<Map<string, number>> | null = null;

  /**
   * @param room Where all nodes keep their counts, for one consumer or queue.
   * @param nodeId New at every start, so that nobody else writes the same record.
   */
  constructor(readonly store: Store, readonly room: Key, nodeId: string) {
    this.#own = [...room, nodeId];
  }

  /**
   * Call it before the messages go on or back: the next one who gets them may look at once.
   *
   * @param change -1 takes back what was noted.
   */
  note(messages: readonly string[], change = 1): Promise<void> {
    for (const message of messages) this.#noting.push([message, change]);
    // One write is for all who ask before it begins.
    return this.#write ??= this.#writing.catch(() => {}).then(() => {
      this.#write = null;
      return this.#writing = this.#add(this.#noting.splice(0));
    });
  }

  /** How often it befell this message, on any node. */
  async count(message: string): Promise<number> {
    // One look is for all who ask before it begins; what is noted later is for the next one.
    const look = this.#next ??= this.#looking.catch(() => {}).then(() => {
      this.#next = null;
      return this.#looking = this.#look();
    });
    return (await look).get(message) ?? 0;
  }

  async #add(changes: readonly (readonly [string, number])[]): Promise<void> {
    for (;;) {
      const entry = await this.store.get(this.#own);
      const before = entry ? decodeRecord(entry.value, Record).messages : {};
      const counts = new Map(Object.entries(before));
      for (const [message, change] of changes) {
        const times = (counts.get(message) ?? 0) + change;
        counts.delete(message);
        if (times > 0) counts.set(message, times);
      }
      const bytes = encodeRecord({ messages: Object.fromEntries([...counts].slice(-MOST)) });
      const written = entry
        ? await this.store.update(this.#own, bytes, entry.revision, { ttl: KEPT })
        : await this.store.create(this.#own, bytes, { ttl: KEPT });
      if (written !== null) return;
    }
  }

  async #look(): Promise<Map<string, number>> {
    const counts = new Map<string, number>();
    for await (const { value } of this.store.list(this.room)) {
      for (const [message, times] of Object.entries(decodeRecord(value, Record).messages)) {
        counts.set(message, (counts.get(message) ?? 0) + times);
      }
    }
    return counts;
  }
}
