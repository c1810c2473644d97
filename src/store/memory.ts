import type { Clock } from "../core/clock.ts";
import {
  type Entry,
  type Expiry,
  type Key,
  type Revision,
  type Store,
  storeClosed,
} from "../flow/store.ts";
import { checkExpiry, deadline, isExpired } from "./expiry.ts";
import { checkKey, checkPrefix, checkValue, compareKeys, isWithin, keyText } from "../flow/key.ts";
import { Nudges } from "./nudges.ts";

interface Kept extends Entry {
  readonly until: number | undefined;
}

/** Keeps everything in this process and forgets it at exit. For tests and stateless use. */
export class MemoryStore implements Store {
  readonly #clock: Clock;
  readonly #entries = new Map<string, Kept>();
  readonly #nudges = new Nudges();
  readonly #closed = new AbortController();
  #lastRevision = 0;
  #writesUntilSweep = 1;

  constructor({ clock }: { clock: Clock }) {
    this.#clock = clock;
  }

  /** Entries in memory, also those that expired and are not removed yet. */
  get size(): number {
    return this.#entries.size;
  }

  async get(key: Key): Promise<Entry | null> {
    const kept = this.#look(key);
    return kept ? asEntry(kept) : null;
  }

  async put(key: Key, value: Uint8Array, expiry?: Expiry): Promise<Revision> {
    this.#look(key);
    return this.#write(key, value, expiry);
  }

  async create(key: Key, value: Uint8Array, expiry?: Expiry): Promise<Revision | null> {
    return this.#look(key) ? null : this.#write(key, value, expiry);
  }

  async update(
    key: Key,
    value: Uint8Array,
    seen: Revision,
    expiry?: Expiry,
  ): Promise<Revision | null> {
    return this.#look(key)?.revision === seen ? this.#write(key, value, expiry) : null;
  }

  async delete(key: Key, seen?: Revision): Promise<boolean> {
    const kept = this.#look(key);
    if (!kept || (seen !== undefined && kept.revision !== seen)) return false;
    this.#entries.delete(keyText(key));
    this.#nudges.tell(kept.key);
    return true;
  }

  async *list(prefix: Key): AsyncGenerator<Entry> {
    checkPrefix(prefix);
    this.#assertOpen();
    const found: Kept[] = [];
    for (const kept of this.#entries.values()) {
      if (kept.key.length > prefix.length && isWithin(prefix, kept.key)) found.push(kept);
    }
    for (const kept of found.sort((a, b) => compareKeys(a.key, b.key))) {
      if (!isExpired(kept.until, this.#clock)) yield asEntry(kept);
    }
  }

  watch(prefix: Key, signal: AbortSignal): AsyncIterable<Key | null> {
    this.#assertOpen();
    return this.#nudges.watch(prefix, AbortSignal.any([signal, this.#closed.signal]));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closed.abort();
    this.#entries.clear();
  }

  /** What is visible under `key`. */
  #look(key: Key): Kept | undefined {
    checkKey(key);
    this.#assertOpen();
    const kept = this.#entries.get(keyText(key));
    return kept && !isExpired(kept.until, this.#clock) ? kept : undefined;
  }

  #write(key: Key, value: Uint8Array, expiry: Expiry | undefined): Revision {
    checkValue(key, value);
    checkExpiry(expiry);
    const revision = String(++this.#lastRevision);
    const until = deadline(this.#clock, expiry);
    // Key and value are copied: the caller may go on changing what it handed in.
    const own = [...key];
    this.#entries.set(keyText(own), { key: own, value: value.slice(), revision, until });
    this.#nudges.tell(own);
    if (--this.#writesUntilSweep === 0) this.#sweep();
    return revision;
  }

  /** Removes what expired, once per as many writes as there are entries: expired keys may never be read. */
  #sweep(): void {
    for (const [text, kept] of this.#entries) {
      if (isExpired(kept.until, this.#clock)) this.#entries.delete(text);
    }
    this.#writesUntilSweep = this.#entries.size + 1;
  }

  #assertOpen(): void {
    if (this.#closed.signal.aborted) throw storeClosed();
  }
}

function asEntry({ key, value, revision }: Kept): Entry {
  return { key: [...key], value: value.slice(), revision };
}
