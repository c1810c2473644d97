import type { Clock } from "../core/clock.ts";
import { InternalError } from "../core/errors.ts";
import { logFor } from "../core/log.ts";
import type { Entry, Expiry, Key, Revision, Store } from "../flow/store.ts";
import { Calls } from "./calls.ts";
import { storeFault } from "./errors.ts";
import { checkExpiry, deadline, isExpired } from "./expiry.ts";
import { checkPrefix, checkValue, keyText } from "../flow/key.ts";
import type { Write } from "./kv/commits.ts";
import {
  type Blob,
  decodeHead,
  decodeRevision,
  encodeHead,
  encodeRevision,
  LARGEST_INLINE,
} from "./kv/head.ts";
import { headKey, keyOfHead } from "./kv/keys.ts";
import { Place } from "./kv/place.ts";

/** Entries read from disk at a time; each may bring 64 KiB. */
const LIST_BATCH = 500;

/**
 * How much later than an entry's deadline Deno KV may remove it. What is visible goes by the injected
 * clock, and the platform's must not be ahead of it.
 */
const REMOVAL_SLACK = 60_000;

/** Deno KV takes no more than 8e15 ms. What would go in a hundred years may stay on disk. */
const LONGEST_REMOVAL = 100 * 365 * 86_400_000;

export interface DenoKvOptions {
  /** Closed when the last store over it is disposed. */
  readonly kv: Deno.Kv;
  readonly clock: Clock;
  /** Other processes write to the same store, as on Deno Deploy: let each hear of the others' changes. */
  readonly hosted?: boolean;
  /** Disposed after `kv` was closed. */
  readonly lock?: Disposable;
}

/** A head ready to be written, with what its revision and the clean-up need. */
interface Draft extends Write {
  readonly until: number | undefined;
  readonly blob: Blob | undefined;
}

/** Keeps entries in Deno KV, in a local file or hosted. */
export class DenoKvStore implements Store {
  readonly #kv: Deno.Kv;
  readonly #clock: Clock;
  readonly #place: Place;
  readonly #lock: Disposable | undefined;
  readonly #calls = new Calls(storeFault);

  constructor({ kv, clock, hosted = false, lock }: DenoKvOptions) {
    this.#kv = kv;
    this.#clock = clock;
    this.#lock = lock;
    this.#place = Place.enter({ kv, clock, hosted });
  }

  get(key: Key): Promise<Entry | null> {
    return this.#calls.with(key, async (own) => {
      return await this.#entry(own, await this.#kv.get(headKey(own)));
    });
  }

  put(key: Key, value: Uint8Array, expiry?: Expiry): Promise<Revision> {
    return this.#write(key, value, expiry, (draft) => this.#place.commits.set(draft));
  }

  create(key: Key, value: Uint8Array, expiry?: Expiry): Promise<Revision | null> {
    return this.#write(key, value, expiry, async (draft) => {
      for (let seen: string | null = null;;) {
        const versionstamp = await this.#replace(draft, seen);
        if (versionstamp !== null) return versionstamp;
        // Taken, expired but not removed yet, or removed since: only the first is final.
        const found = await this.#kv.get(draft.key);
        if (found.versionstamp !== null && !this.#isExpired(found)) return null;
        seen = found.versionstamp;
      }
    });
  }

  update(key: Key, value: Uint8Array, seen: Revision, expiry?: Expiry): Promise<Revision | null> {
    return this.#write(key, value, expiry, async (draft) => {
      const versionstamp = this.#current(seen);
      return versionstamp === null ? null : await this.#replace(draft, versionstamp);
    });
  }

  delete(key: Key, seen?: Revision): Promise<boolean> {
    return this.#calls.with(key, async (own) => {
      const removed = seen === undefined
        ? await this.#remove(headKey(own))
        : await this.#removeIf(headKey(own), this.#current(seen));
      if (removed) await this.#changed(own);
      return removed;
    });
  }

  async *list(prefix: Key): AsyncGenerator<Entry> {
    checkPrefix(prefix);
    this.#calls.assertOpen();
    const found = this.#kv.list({ prefix: headKey(prefix) }, { batchSize: LIST_BATCH });
    while (true) {
      const next = await this.#calls.track(() => found.next());
      if (next.done) return;
      const key = keyOfHead(next.value.key);
      const entry = await this.#calls.track(() => this.#entry(key, next.value));
      if (entry) yield entry;
    }
  }

  watch(prefix: Key, signal: AbortSignal): AsyncIterable<Key | null> {
    this.#calls.assertOpen();
    return this.#place.nudges.watch(prefix, AbortSignal.any([signal, this.#calls.closed]));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#calls.closed.aborted) return;
    await this.#calls.close();
    await this.#place.leave();
    this.#lock?.[Symbol.dispose]();
  }

  /** The visible entry of a head, with its parts read. */
  async #entry(key: Key, found: Deno.KvEntryMaybe<unknown>): Promise<Entry | null> {
    for (let last = ""; found.versionstamp !== null; found = await this.#kv.get(headKey(key))) {
      const { until, content } = decodeHead(found.value);
      if (isExpired(until, this.#clock)) return null;
      const inline = content instanceof Uint8Array;
      const value = inline ? content : await this.#place.blobs.read(content);
      if (value) {
        return { key, value, revision: encodeRevision(found.versionstamp, until) };
      }
      // Someone replaced the value while we read its parts, and its head with it.
      if (found.versionstamp === last) throw new InternalError("store.parts_missing");
      last = found.versionstamp;
    }
    return null;
  }

  /** Writes what there is to write of `value`, lets `commit` decide on the head, and cleans up. */
  #write<R extends Revision | null>(
    key: Key,
    value: Uint8Array,
    expiry: Expiry | undefined,
    commit: (draft: Draft) => Promise<R>,
  ): Promise<R> {
    return this.#calls.with(key, async (own) => {
      checkValue(own, value);
      checkExpiry(expiry);
      // Small values are drafted without waiting, so that puts of one turn meet in one commit.
      const draft = value.length <= LARGEST_INLINE
        ? this.#draft(own, value, expiry)
        : await this.#draftBlob(own, value, expiry);
      let versionstamp: R | undefined;
      try {
        versionstamp = await commit(draft);
      } finally {
        if (draft.blob) this.#place.blobs.decided(draft.blob);
        // Unless it is certain that nothing changed: a failed commit may have reached the disk.
        if (versionstamp !== null || draft.blob) {
          const cleaning = this.#changed(own);
          if (cleaning) await cleaning;
        }
      }
      return versionstamp === null ? versionstamp : encodeRevision(versionstamp, draft.until) as R;
    });
  }

  #draft(key: Key, content: Uint8Array | Blob, expiry: Expiry | undefined): Draft {
    const until = deadline(this.#clock, expiry);
    return {
      key: headKey(key),
      text: keyText(key),
      value: encodeHead({ until, content }),
      expireIn: removalDelay(expiry),
      until,
      blob: content instanceof Uint8Array ? undefined : content,
    };
  }

  async #draftBlob(key: Key, value: Uint8Array, expiry: Expiry | undefined): Promise<Draft> {
    const blob = await this.#place.blobs.write(key, value, removalDelay(expiry));
    return this.#draft(key, blob, expiry);
  }

  /** Writes the head if it is still the one seen; gives the new versionstamp. */
  async #replace(draft: Draft, versionstamp: string | null): Promise<string | null> {
    const { key, value, expireIn } = draft;
    const commit = this.#place.atomic().check({ key, versionstamp });
    const done = await commit.set(key, value, { expireIn }).commit();
    return done.ok ? done.versionstamp : null;
  }

  async #remove(key: Deno.KvKey): Promise<boolean> {
    while (true) {
      const found = await this.#kv.get(key);
      if (found.versionstamp === null || this.#isExpired(found)) return false;
      if (await this.#removeIf(key, found.versionstamp)) return true;
    }
  }

  async #removeIf(key: Deno.KvKey, versionstamp: string | null): Promise<boolean> {
    if (versionstamp === null) return false;
    return (await this.#place.atomic().check({ key, versionstamp }).delete(key).commit()).ok;
  }

  /** The versionstamp of a revision whose entry can still be visible. */
  #current(seen: Revision): string | null {
    const revision = decodeRevision(seen);
    return revision && !isExpired(revision.until, this.#clock) ? revision.versionstamp : null;
  }

  #isExpired(found: Deno.KvEntry<unknown>): boolean {
    return isExpired(decodeHead(found.value).until, this.#clock);
  }

  /** Tells the watchers and removes parts that no head names any more, if there are any. */
  #changed(key: Key): void | Promise<void> {
    this.#place.nudges.tell(key);
    if (this.#place.blobs.mayHold(key)) return this.#collect(key);
  }

  async #collect(key: Key): Promise<void> {
    try {
      await this.#place.blobs.collect(key);
    } catch (cause) {
      // The write itself is done; the next start will clean up.
      logFor("store").warning("Cannot remove the parts of a replaced value", { key, cause });
    }
  }
}

/** For Deno KV's `expireIn`, which takes whole milliseconds. */
function removalDelay(expiry: Expiry | undefined): number | undefined {
  const ttl = expiry?.ttl;
  if (ttl === undefined || ttl === Infinity) return undefined;
  return ttl > LONGEST_REMOVAL ? undefined : Math.ceil(ttl) + REMOVAL_SLACK;
}
