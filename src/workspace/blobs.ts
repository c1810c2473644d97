import type { Clock } from "../core/clock.ts";
import { sha256Hex } from "../core/digest.ts";
import { FlowError } from "../core/errors.ts";
import { keyText } from "../flow/key.ts";
import type { Entry, Key, Store } from "../flow/store.ts";

export const BLOBS = "blobs";

/** A blob that nothing names is deleted at this age. Milliseconds, as all below. */
export const DELETED_AFTER = 60 * 60_000;
/** A publisher that takes up a blob of this age writes it again, which makes it young. */
export const REWRITTEN_AFTER = 30 * 60_000;

/** Blobs read or written at once. */
const AT_ONCE = 64;

/** First byte of what this version writes; then the time it was written, a float of 8 bytes. */
const FORMAT = 1;
const HEADER = 9;

export function blobKey(name: string, digest: string): Key {
  return [BLOBS, name, digest];
}

/**
 * Contents under the SHA-256 of what is in them. Stores keep no times, so a blob says itself when it
 * was written last.
 */
export class Blobs {
  readonly #store: Store;
  readonly #clock: Clock;
  /** When blobs were written, as far as this process knows: none of them is deleted before its time. */
  readonly #young = new Map<string, number>();

  constructor(options: { store: Store; clock: Clock }) {
    this.#store = options.store;
    this.#clock = options.clock;
  }

  /** `null` when it is missing, or is not what its name says. */
  async read(name: string, digest: string): Promise<Uint8Array | null> {
    const entry = await this.#store.get(blobKey(name, digest));
    if (!entry) return null;
    const { content } = decodeBlob(entry);
    return await sha256Hex(content) === digest ? content : null;
  }

  /** All of them in one go; `null` when one is missing. */
  async readAll(
    name: string,
    digests: readonly string[],
    signal?: AbortSignal,
  ): Promise<Map<string, Uint8Array> | null> {
    const found = new Map<string, Uint8Array>();
    for (let at = 0; at < digests.length; at += AT_ONCE) {
      signal?.throwIfAborted();
      const some = digests.slice(at, at + AT_ONCE);
      const read = await Promise.all(some.map((digest) => this.read(name, digest)));
      if (read.includes(null)) return null;
      some.forEach((digest, index) => found.set(digest, read[index]!));
    }
    return found;
  }

  /**
   * Sees to it that blobs are there and too young for the collector to delete them for the next half
   * hour, whatever it knows of manifests.
   *
   * @param anew Writes all of them, also those that should be there.
   */
  async ensure(
    name: string,
    contents: ReadonlyMap<string, Uint8Array>,
    { anew = false }: { anew?: boolean } = {},
  ): Promise<void> {
    this.#forgetOld();
    const digests = [...contents.keys()];
    for (let at = 0; at < digests.length; at += AT_ONCE) {
      await Promise.all(
        digests.slice(at, at + AT_ONCE).map((digest) =>
          this.#ensureOne(name, digest, contents.get(digest)!, anew)
        ),
      );
    }
  }

  async #ensureOne(
    name: string,
    digest: string,
    content: Uint8Array,
    anew: boolean,
  ): Promise<void> {
    const key = blobKey(name, digest);
    const id = keyText(key);
    if (!anew) {
      if (this.#young.has(id)) return;
      const written = await this.#writtenAt(key, digest);
      if (written !== undefined && !this.#isOld(written)) {
        this.#young.set(id, written);
        return;
      }
    }
    const now = this.#clock.now();
    await this.#store.put(key, encodeBlob(content, now));
    this.#young.set(id, now);
  }

  /** `undefined` for a blob that is missing or broken. */
  async #writtenAt(key: Key, digest: string): Promise<number | undefined> {
    const entry = await this.#store.get(key);
    if (!entry) return undefined;
    const { content, written } = decodeBlob(entry);
    return await sha256Hex(content) === digest ? written : undefined;
  }

  #isOld(written: number): boolean {
    return this.#clock.now() - written > REWRITTEN_AFTER;
  }

  #forgetOld(): void {
    for (const [id, written] of this.#young) if (this.#isOld(written)) this.#young.delete(id);
  }
}

/** @param written Milliseconds since 1970. */
export function encodeBlob(content: Uint8Array, written: number): Uint8Array {
  const bytes = new Uint8Array(HEADER + content.length);
  bytes[0] = FORMAT;
  new DataView(bytes.buffer).setFloat64(1, written);
  bytes.set(content, HEADER);
  return bytes;
}

/** @throws {FlowError} `store.record_newer` */
export function decodeBlob({ value }: Entry): { content: Uint8Array; written: number } {
  if (value[0]! > FORMAT) {
    throw new FlowError("store.record_newer", `Cannot read a blob of format ${value[0]}`, {
      hint: "it was written by a newer flowgen; update this one, or give it a store of its own",
    });
  }
  // What is too short for a blob is none; its content will not be what its name says.
  if (value.length < HEADER) return { content: value, written: 0 };
  const view = new DataView(value.buffer, value.byteOffset, HEADER);
  return { content: value.subarray(HEADER), written: view.getFloat64(1) };
}
