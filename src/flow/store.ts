import { FlowError } from "../core/errors.ts";

/**
 * Parts of a path; `["flows", "demo/reader"]`. Parts may hold any text but must not be empty. All
 * together have up to 1,000 bytes of UTF-8, with one more between parts.
 */
export type Key = readonly string[];

/** Opaque; compare with `===` only and hand back to the store it came from. */
export type Revision = string;

export interface Expiry {
  /** Milliseconds until the entry stops being visible, more than 0; `Infinity` keeps it. */
  readonly ttl?: number;
}

export interface Entry {
  readonly key: Key;
  readonly value: Uint8Array;
  readonly revision: Revision;
}

/**
 * Keeps small records for the runtime and its tasks. What every driver can keep is promised here,
 * and `testStore` in `src/store/testing.ts` asks it of all of them. Values have up to 64 MiB.
 *
 * @throws {FlowError} from every method: `store.unavailable` (try again), `store.closed`,
 * `store.value_too_large`, `store.key_invalid`, `store.ttl_invalid`.
 */
export interface Store extends AsyncDisposable {
  get(key: Key): Promise<Entry | null>;
  /** Writes, whatever was there. */
  put(key: Key, value: Uint8Array, expiry?: Expiry): Promise<Revision>;
  /** Writes if the key is free; `null` when it is taken. */
  create(key: Key, value: Uint8Array, expiry?: Expiry): Promise<Revision | null>;
  /** Writes if `seen` is still current; `null` when someone was faster. */
  update(key: Key, value: Uint8Array, seen: Revision, expiry?: Expiry): Promise<Revision | null>;
  /** Whether there was a value to remove; with `seen`, removes only that revision. */
  delete(key: Key, seen?: Revision): Promise<boolean>;
  /** Entries strictly below `prefix` (all for `[]`), in key order: part by part, by code unit. */
  list(prefix: Key): AsyncIterable<Entry>;
  /** Changes at and below `prefix`: the key that may be new, or `null`: look at everything. May merge; expiry alone says nothing. */
  watch(prefix: Key, signal: AbortSignal): AsyncIterable<Key | null>;
}

/** What every use of a store after its disposal throws. */
export function storeClosed(): FlowError {
  return new FlowError("store.closed", "Cannot use a store that was closed");
}
