import {
  type Entry,
  type Expiry,
  type Key,
  type Revision,
  type Store,
  storeClosed,
} from "./store.ts";
import { checkKey } from "./key.ts";

/**
 * The part of a store below `prefix`, as a store of its own: its keys are relative and cannot reach
 * outside. Disposing it ends its watches and leaves the store open.
 */
export function scoped(store: Store, prefix: Key): Store {
  return new ScopedStore(store, [...prefix]);
}

class ScopedStore implements Store {
  readonly #closed = new AbortController();

  constructor(readonly store: Store, readonly prefix: Key) {}

  async get(key: Key): Promise<Entry | null> {
    const entry = await this.store.get(this.#whole(key));
    return entry && this.#relative(entry);
  }

  async put(key: Key, value: Uint8Array, expiry?: Expiry): Promise<Revision> {
    return await this.store.put(this.#whole(key), value, expiry);
  }

  async create(key: Key, value: Uint8Array, expiry?: Expiry): Promise<Revision | null> {
    return await this.store.create(this.#whole(key), value, expiry);
  }

  async update(
    key: Key,
    value: Uint8Array,
    seen: Revision,
    expiry?: Expiry,
  ): Promise<Revision | null> {
    return await this.store.update(this.#whole(key), value, seen, expiry);
  }

  async delete(key: Key, seen?: Revision): Promise<boolean> {
    return await this.store.delete(this.#whole(key), seen);
  }

  async *list(prefix: Key): AsyncGenerator<Entry> {
    this.#assertOpen();
    for await (const entry of this.store.list([...this.prefix, ...prefix])) {
      this.#assertOpen();
      yield this.#relative(entry);
    }
  }

  watch(prefix: Key, signal: AbortSignal): AsyncIterable<Key | null> {
    this.#assertOpen();
    const either = AbortSignal.any([signal, this.#closed.signal]);
    // Asked for here and not inside the generator: the store listens from this call on.
    return relativeKeys(this.store.watch([...this.prefix, ...prefix], either), this.prefix.length);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closed.abort();
  }

  #whole(key: Key): Key {
    this.#assertOpen();
    checkKey(key); // an empty one would be the prefix itself
    return [...this.prefix, ...key];
  }

  #relative(entry: Entry): Entry {
    return { ...entry, key: entry.key.slice(this.prefix.length) };
  }

  #assertOpen(): void {
    if (this.#closed.signal.aborted) throw storeClosed();
  }
}

async function* relativeKeys(
  keys: AsyncIterable<Key | null>,
  skip: number,
): AsyncGenerator<Key | null> {
  for await (const key of keys) {
    if (key === null) yield null;
    else if (key.length > skip) yield key.slice(skip);
  }
}
