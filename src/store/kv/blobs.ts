import type { Clock } from "../../core/clock.ts";
import type { Key } from "../../flow/store.ts";
import { isExpired } from "../expiry.ts";
import { keyText } from "../../flow/key.ts";
import { type Blob, decodeHead, LARGEST_KV_VALUE } from "./head.ts";
import { BLOBS, headKey, PARTS } from "./keys.ts";

/** Parts of 64 KiB that fit into one commit (800 KiB) together with their keys and the blob's record. */
const PARTS_PER_COMMIT = 12;
/** Mutations in one commit are limited to 1,000. */
const DELETES_PER_COMMIT = 500;
/** Another isolate may still be writing a blob that is younger. */
const HOSTED_GRACE = 3_600_000;

/** What is stored under `[BLOBS, id]`, from before the first part until after the last. */
interface BlobRecord {
  readonly v: 1;
  readonly key: Key;
  readonly parts: number;
  /** When it was begun, and when Deno KV removes it by itself. */
  readonly at: number;
  readonly until: number | undefined;
}

export interface BlobsOptions {
  readonly kv: Deno.Kv;
  readonly clock: Clock;
  /** Whether other processes write to the same store. */
  readonly hosted: boolean;
}

/**
 * Values too large for one record of Deno KV. Parts are written first, under an id of their own; the
 * head that names the id makes them the value. What no head names is removed: right after a head was
 * replaced, and at the next start when the process died in between.
 */
export class Blobs {
  readonly #kv: Deno.Kv;
  readonly #clock: Clock;
  readonly #hosted: boolean;
  /** Blobs known to exist, by the text of their key and their id. */
  readonly #known = new Map<string, Map<string, BlobRecord>>();
  /** Written, but it is not decided yet whether a head will name them. */
  readonly #undecided = new Set<string>();
  #loading: Promise<void> | undefined;
  #loaded = false;
  #writesUntilPrune = 1;

  constructor({ kv, clock, hosted }: BlobsOptions) {
    this.#kv = kv;
    this.#clock = clock;
    this.#hosted = hosted;
  }

  /**
   * Writes the parts. Call `decided` once it is known what became of the head.
   *
   * @param expireIn Milliseconds after which Deno KV may remove them: later than the head's deadline.
   */
  async write(key: Key, given: Uint8Array, expireIn: number | undefined): Promise<Blob> {
    const value = given.slice(); // the caller may go on changing it while parts are written
    // Not from the injected random: two blobs that share an id would be mixed up.
    const id = crypto.randomUUID();
    const parts = Math.ceil(value.length / LARGEST_KV_VALUE);
    const at = this.#clock.now();
    const until = expireIn === undefined ? undefined : at + expireIn;
    const record: BlobRecord = { v: 1, key: [...key], parts, at, until };
    this.#undecided.add(id);
    this.#remember(id, record);
    try {
      for (let from = 0; from < parts; from += PARTS_PER_COMMIT) {
        const commit = this.#kv.atomic();
        if (from === 0) commit.set([BLOBS, id], record, { expireIn });
        for (let n = from; n < Math.min(parts, from + PARTS_PER_COMMIT); n++) {
          const part = value.subarray(n * LARGEST_KV_VALUE, (n + 1) * LARGEST_KV_VALUE);
          commit.set([PARTS, id, n], part, { expireIn });
        }
        await commit.commit();
      }
    } catch (cause) {
      this.#undecided.delete(id);
      throw cause;
    }
    return { id, parts, bytes: value.length };
  }

  decided(blob: Blob): void {
    this.#undecided.delete(blob.id);
  }

  /** `null` when parts are missing: the head that named the blob was replaced meanwhile. */
  async read({ id, parts, bytes }: Blob): Promise<Uint8Array | null> {
    const value = new Uint8Array(bytes);
    let found = 0;
    for await (const part of this.#kv.list<Uint8Array>({ prefix: [PARTS, id] })) {
      value.set(part.value, (part.key[2] as number) * LARGEST_KV_VALUE);
      found++;
    }
    return found === parts ? value : null;
  }

  /** Whether the key has, or may have, a blob that its head no longer names. */
  mayHold(key: Key): boolean {
    return !this.#loaded || (this.#known.size > 0 && this.#known.has(keyText(key)));
  }

  /** Removes the blobs of a key that its head does not name. */
  async collect(key: Key): Promise<void> {
    await this.#load();
    // Chosen before the head is read: a blob that becomes decided in between may be what it names.
    const candidates = [...this.#known.get(keyText(key)) ?? []]
      .filter(([id]) => !this.#undecided.has(id));
    if (candidates.length === 0) return;
    const { value } = await this.#kv.get(headKey(key));
    const content = value === null ? undefined : decodeHead(value).content;
    const named = content && "id" in content ? content.id : undefined;
    for (const [id, record] of candidates) {
      if (id !== named) await this.#remove(id, record);
    }
  }

  /** Removes what a process left behind when it died. */
  async sweep(signal: AbortSignal): Promise<void> {
    await this.#load();
    for (const blobs of [...this.#known.values()]) {
      const first = blobs.values().next();
      if (signal.aborted) return;
      if (!first.done) await this.collect(first.value.key);
    }
  }

  /** Learns which blobs exist. */
  #load(): Promise<void> {
    return this.#loading ??= this.#readRecords().catch((cause) => {
      this.#loading = undefined;
      throw cause;
    });
  }

  async #readRecords(): Promise<void> {
    const old = this.#clock.now() - HOSTED_GRACE;
    for await (const entry of this.#kv.list<BlobRecord>({ prefix: [BLOBS] })) {
      if (!this.#hosted || entry.value.at < old) {
        this.#remember(entry.key[1] as string, entry.value);
      }
    }
    this.#loaded = true;
  }

  async #remove(id: string, { key, parts }: BlobRecord): Promise<void> {
    for (let from = 0; from < parts; from += DELETES_PER_COMMIT) {
      const commit = this.#kv.atomic();
      for (let n = from; n < Math.min(parts, from + DELETES_PER_COMMIT); n++) {
        commit.delete([PARTS, id, n]);
      }
      await commit.commit();
    }
    await this.#kv.delete([BLOBS, id]);
    this.#forget(id, key);
  }

  #remember(id: string, record: BlobRecord): void {
    const text = keyText(record.key);
    const blobs = this.#known.get(text) ?? new Map<string, BlobRecord>();
    this.#known.set(text, blobs.set(id, record));
    if (--this.#writesUntilPrune === 0) this.#prune();
  }

  #forget(id: string, key: Key): void {
    const text = keyText(key);
    const blobs = this.#known.get(text);
    blobs?.delete(id);
    if (blobs?.size === 0) this.#known.delete(text);
  }

  /** Deno KV itself removes what expired, so it only has to be forgotten. */
  #prune(): void {
    for (const blobs of this.#known.values()) {
      for (const [id, { key, until }] of blobs) {
        if (isExpired(until, this.#clock)) this.#forget(id, key);
      }
    }
    this.#writesUntilPrune = this.#known.size + 1;
  }
}
