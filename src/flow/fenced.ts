import type { Clock } from "../core/clock.ts";
import { FlowError } from "../core/errors.ts";
import type { Term } from "./cluster.ts";
import { checkValue, isWithin, keyText } from "./key.ts";
import { decodeStamped, encodeStamped, type Stamped } from "./stamp.ts";
import {
  type Entry,
  type Expiry,
  type Key,
  type Revision,
  type Store,
  storeClosed,
} from "./store.ts";

/** Milliseconds for which it is remembered that a key was free: longer than a late write can be late. */
const REMEMBERED = 86_400_000;

/** Keys whose revision is remembered, so that the next write needs no read. */
const MOST_KNOWN = 1_000;

/**
 * The state of an elected flow, safe from those who own the flow no longer. Every value carries the
 * epoch of its writer and is written by compare-and-set. What a new owner reads it stamps first, also
 * what is not there, so that a write of the old owner that is still under way fails. A delete leaves a
 * stamp for a day.
 *
 * What `list` does not show is not stamped. Values from before the flow was elected count as epoch 0; a
 * ttl they were written with is lost when they are stamped. One view serves one term: an old
 * delivery must not write under the epoch of the next. Disposing it leaves the store open.
 *
 * @param term The right of whoever uses the view; `null` when there is none.
 * @param room Where the flow's own state is. Keys elsewhere are shared with other flows, whose epochs
 *   mean something else; they pass as they are.
 * @throws {FlowError} `cluster.fenced` from every method when a newer owner was here, or without a term
 */
export function fenced(
  store: Store,
  term: () => Term | null,
  clock: Pick<Clock, "now">,
  room: Key = [],
): Store {
  return new FencedStore(store, term, clock, [...room]);
}

/** What is under a key, as one read found it. */
interface Found extends Stamped {
  /** `null`: nothing at all, not even a stamp. */
  readonly revision: Revision | null;
}

class FencedStore implements Store {
  readonly #closed = new AbortController();
  readonly #known = new Map<string, Revision>();

  constructor(
    readonly store: Store,
    readonly term: () => Term | null,
    readonly clock: Pick<Clock, "now">,
    readonly room: Key,
  ) {}

  async get(key: Key): Promise<Entry | null> {
    if (!this.#isOurs(key)) return await this.store.get(key);
    const epoch = this.#epoch(key);
    return entryOf([...key], await this.#read([...key], epoch));
  }

  async put(key: Key, value: Uint8Array, expiry?: Expiry): Promise<Revision> {
    if (!this.#isOurs(key)) return await this.store.put(key, value, expiry);
    const epoch = this.#epoch(key);
    const own = [...key];
    const stamped = this.#stamp(own, value, epoch, expiry);
    const known = this.#known.get(keyText(own));
    if (known !== undefined) {
      const revision = await this.#write(own, stamped, known, expiry);
      if (revision !== null) return revision;
    }
    while (true) {
      const found = await this.#look(own, epoch);
      const revision = await this.#write(own, stamped, found.revision, expiry);
      if (revision !== null) return revision;
    }
  }

  async create(key: Key, value: Uint8Array, expiry?: Expiry): Promise<Revision | null> {
    if (!this.#isOurs(key)) return await this.store.create(key, value, expiry);
    const epoch = this.#epoch(key);
    const own = [...key];
    const stamped = this.#stamp(own, value, epoch, expiry);
    while (true) {
      const found = await this.#look(own, epoch);
      if (found.value !== null) {
        // That it is taken is something to rely on too.
        await this.#read(own, epoch);
        return null;
      }
      const revision = await this.#write(own, stamped, found.revision, expiry);
      if (revision !== null) return revision;
    }
  }

  async update(
    key: Key,
    value: Uint8Array,
    seen: Revision,
    expiry?: Expiry,
  ): Promise<Revision | null> {
    if (!this.#isOurs(key)) return await this.store.update(key, value, seen, expiry);
    const epoch = this.#epoch(key);
    const own = [...key];
    const stamped = this.#stamp(own, value, epoch, expiry);
    return await this.#write(own, stamped, seen, expiry);
  }

  async delete(key: Key, seen?: Revision): Promise<boolean> {
    if (!this.#isOurs(key)) return await this.store.delete(key, seen);
    const epoch = this.#epoch(key);
    const own = [...key];
    while (true) {
      const found = await this.#read(own, epoch);
      if (found.value === null || (seen !== undefined && found.revision !== seen)) return false;
      if (await this.#bury(own, epoch, found.revision) !== null) return true;
    }
  }

  async *list(prefix: Key): AsyncGenerator<Entry> {
    this.#assertOpen();
    for await (const entry of this.store.list(prefix)) {
      if (!this.#isOurs(entry.key)) {
        yield entry;
        continue;
      }
      const { key, value, revision } = entry;
      const epoch = this.#epoch(key);
      const found: Found = { ...decodeStamped(value), revision };
      this.#refuseNewer(key, found, epoch);
      const stamped = found.epoch === epoch ? found : await this.#read(key, epoch);
      const own = entryOf(key, stamped);
      if (own) yield own;
    }
  }

  watch(prefix: Key, signal: AbortSignal): AsyncIterable<Key | null> {
    this.#assertOpen();
    return this.store.watch(prefix, AbortSignal.any([signal, this.#closed.signal]));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closed.abort();
    this.#known.clear();
  }

  /** What is under a key, stamped as this owner's. */
  async #read(key: Key, epoch: number): Promise<Found> {
    while (true) {
      const found = await this.#look(key, epoch);
      if (found.epoch === epoch && found.revision !== null) return found;
      const revision = found.value === null
        ? await this.#bury(key, epoch, found.revision)
        : await this.#restamp(key, epoch, found);
      if (revision !== null) return { ...found, epoch, revision };
    }
  }

  async #look(key: Key, epoch: number): Promise<Found> {
    const entry = await this.store.get(key);
    if (!entry) return { epoch: 0, value: null, until: undefined, revision: null };
    const found = { ...decodeStamped(entry.value), revision: entry.revision };
    this.#refuseNewer(key, found, epoch);
    return found;
  }

  async #restamp(key: Key, epoch: number, found: Found): Promise<Revision | null> {
    const { until } = found;
    // By the wall clock of whoever wrote it, which is all there is.
    const expiry = until === undefined ? {} : { ttl: Math.max(1, until - this.clock.now()) };
    return await this.#write(key, encodeStamped({ ...found, epoch }), found.revision, expiry);
  }

  async #bury(key: Key, epoch: number, seen: Revision | null): Promise<Revision | null> {
    const tombstone = encodeStamped({ epoch, value: null, until: undefined });
    return await this.#write(key, tombstone, seen, { ttl: REMEMBERED });
  }

  async #write(
    key: Key,
    stamped: Uint8Array,
    seen: Revision | null,
    expiry: Expiry | undefined,
  ): Promise<Revision | null> {
    const revision = seen === null
      ? await this.store.create(key, stamped, expiry)
      : await this.store.update(key, stamped, seen, expiry);
    const name = keyText(key);
    this.#known.delete(name);
    if (revision !== null) this.#known.set(name, revision);
    if (this.#known.size > MOST_KNOWN) this.#known.delete(this.#known.keys().next().value!);
    return revision;
  }

  #stamp(key: Key, value: Uint8Array, epoch: number, expiry: Expiry | undefined): Uint8Array {
    checkValue(key, value);
    const ttl = expiry?.ttl;
    const until = ttl === undefined || ttl === Infinity ? undefined : this.clock.now() + ttl;
    return encodeStamped({ epoch, value, until });
  }

  #epoch(key: Key): number {
    const term = this.term();
    if (term) return term.epoch;
    throw new FlowError("cluster.fenced", `Cannot use ${nameOf(key)} without owning the flow`, {
      hint: "nothing is lost: whoever owns the flow goes on",
    });
  }

  #refuseNewer(key: Key, found: Stamped, epoch: number): void {
    if (found.epoch <= epoch) return;
    throw new FlowError(
      "cluster.fenced",
      `Cannot use ${nameOf(key)} under epoch ${epoch}: an owner of epoch ${found.epoch} has it`,
      { hint: "nothing is lost: whoever owns the flow goes on" },
    );
  }

  #isOurs(key: Key): boolean {
    this.#assertOpen();
    return isWithin(this.room, key);
  }

  #assertOpen(): void {
    if (this.#closed.signal.aborted) throw storeClosed();
  }
}

function entryOf(key: Key, { value, revision }: Found): Entry | null {
  return value === null ? null : { key, value, revision: revision! };
}

function nameOf(key: Key): string {
  return `"${key.join("/")}"`;
}
