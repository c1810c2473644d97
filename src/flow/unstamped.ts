import { decodeStamped } from "./stamp.ts";
import {
  type Entry,
  type Expiry,
  type Key,
  type Revision,
  type Store,
  storeClosed,
} from "./store.ts";

/**
 * A store that shows what elected flows have kept as if nobody had stamped it, for flows that are not
 * elected, or not any more. It writes without stamps. Disposing it leaves the store open.
 */
export function unstamped(store: Store): Store {
  return new UnstampedStore(store);
}

class UnstampedStore implements Store {
  readonly #closed = new AbortController();

  constructor(readonly store: Store) {}

  async get(key: Key): Promise<Entry | null> {
    this.#assertOpen();
    const entry = await this.store.get(key);
    return entry && shown(entry);
  }

  async put(key: Key, value: Uint8Array, expiry?: Expiry): Promise<Revision> {
    this.#assertOpen();
    return await this.store.put(key, value, expiry);
  }

  async create(key: Key, value: Uint8Array, expiry?: Expiry): Promise<Revision | null> {
    this.#assertOpen();
    const [own, bytes] = [[...key], value.slice()];
    while (true) {
      const created = await this.store.create(own, bytes, expiry);
      if (created !== null) return created;
      const entry = await this.store.get(own);
      if (!entry) continue;
      if (shown(entry)) return null;
      const replaced = await this.store.update(own, bytes, entry.revision, expiry);
      if (replaced !== null) return replaced;
    }
  }

  async update(
    key: Key,
    value: Uint8Array,
    seen: Revision,
    expiry?: Expiry,
  ): Promise<Revision | null> {
    this.#assertOpen();
    return await this.store.update(key, value, seen, expiry);
  }

  async delete(key: Key, seen?: Revision): Promise<boolean> {
    this.#assertOpen();
    const own = [...key];
    while (true) {
      const entry = await this.store.get(own);
      if (!entry || !shown(entry) || (seen !== undefined && entry.revision !== seen)) return false;
      if (await this.store.delete(own, entry.revision)) return true;
    }
  }

  async *list(prefix: Key): AsyncGenerator<Entry> {
    this.#assertOpen();
    for await (const entry of this.store.list(prefix)) {
      const own = shown(entry);
      if (own) yield own;
    }
  }

  watch(prefix: Key, signal: AbortSignal): AsyncIterable<Key | null> {
    this.#assertOpen();
    return this.store.watch(prefix, AbortSignal.any([signal, this.#closed.signal]));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closed.abort();
  }

  #assertOpen(): void {
    if (this.#closed.signal.aborted) throw storeClosed();
  }
}

function shown(entry: Entry): Entry | null {
  const { value } = decodeStamped(entry.value);
  if (value === entry.value) return entry;
  return value && { ...entry, value };
}
