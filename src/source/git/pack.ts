/** What `fetch` gives: many objects in one file. See https://git-scm.com/docs/gitformat-pack */
import type { Buffer } from "node:buffer";
import { createHash } from "node:crypto";
import { inflateSync } from "node:zlib";
import { turn } from "../../core/clock.ts";
import { FlowError } from "../../core/errors.ts";
import { applyDelta, deltaSizes } from "./delta.ts";
import { corrupt, type GitObject, type IdFormat, idOf, type ObjectType } from "./objects.ts";

export interface PackOptions {
  readonly format: IdFormat;
  /** Objects of earlier packs, which deltas of a thin pack are written against. */
  readonly known?: ReadonlyMap<string, GitObject>;
  /** Bytes that all objects together may take, counted before they are unpacked. */
  readonly maxBytes: number;
  readonly maxObjects: number;
}

/** A delta's base is neither in the pack nor among the known objects. */
export class MissingBase extends Error {}

const TYPES: Readonly<Record<number, ObjectType>> = { 1: "commit", 2: "tree", 3: "blob", 4: "tag" };
const OFFSET_DELTA = 6;
const REF_DELTA = 7;
const HEADER = 12;

/** Bytes and objects unpacked before the event loop gets a turn: a few milliseconds of work. */
const REST_AFTER = 512 * 1024;
const MOST_IN_TURN = 256;

/** A delta whose base comes later, or is such a delta itself. */
interface Waiting {
  readonly offset: number;
  readonly delta: Uint8Array;
}

/**
 * The objects of a pack by id. Ids are computed from the content, never taken from the pack.
 *
 * @throws {FlowError} `source.corrupt`, `source.too_large`
 * @throws {MissingBase} for a thin pack with unknown bases.
 */
export async function readPack(
  pack: Uint8Array,
  options: PackOptions,
): Promise<Map<string, GitObject>> {
  return await new PackReader(pack, options).read();
}

class PackReader {
  readonly #objects = new Map<string, GitObject>();
  readonly #byOffset = new Map<number, GitObject>();
  /** By id in hex, or by offset in the pack. */
  readonly #waiting = new Map<string | number, Waiting[]>();
  #waits = 0;
  #at = HEADER;
  #bytes = 0;
  /** The pack without its checksum. */
  readonly #body: Uint8Array;

  /** @throws {FlowError} `source.corrupt` when it is not whole */
  constructor(pack: Uint8Array, readonly options: PackOptions) {
    const { hash, bytes } = options.format;
    if (pack.length < HEADER + bytes) throw corrupt("the pack is cut off");
    this.#body = pack.subarray(0, -bytes);
    const sum = createHash(hash).update(this.#body).digest();
    if (!sum.equals(pack.subarray(-bytes))) throw corrupt("the pack's checksum does not fit");
  }

  async read(): Promise<Map<string, GitObject>> {
    const { maxObjects } = this.options;
    const view = new DataView(this.#body.buffer, this.#body.byteOffset, HEADER);
    if (view.getUint32(0) !== 0x5041434b) throw corrupt("what the server sent is no pack");
    if (view.getUint32(4) !== 2) throw corrupt(`packs of version ${view.getUint32(4)} are unknown`);
    const count = view.getUint32(8);
    if (count > maxObjects) throw tooMany(maxObjects);
    for (let i = 0, rested = 0; i < count; i++) {
      this.#readObject();
      // Others shall not wait until everything is unpacked.
      if (this.#bytes - rested < REST_AFTER && i % MOST_IN_TURN > 0) continue;
      rested = this.#bytes;
      await turn();
    }
    if (this.#at !== this.#body.length) throw corrupt("the pack holds more than it says");
    if (this.#waits > 0) throw new MissingBase();
    return this.#objects;
  }

  #readObject(): void {
    const offset = this.#at;
    const { type, size } = this.#readHeader();
    const plain = TYPES[type];
    if (plain) return this.#add(offset, { type: plain, data: this.#inflate(size) });
    if (type !== OFFSET_DELTA && type !== REF_DELTA) {
      throw corrupt(`there is an object of type ${type}`);
    }
    const base = type === REF_DELTA ? this.#readId() : offset - this.#readDistance();
    const delta = this.#inflate(size);
    const object = typeof base === "string"
      ? this.#objects.get(base) ?? this.options.known?.get(base)
      : this.#byOffset.get(base);
    if (object) return this.#add(offset, this.#apply(object, delta));
    const waiting = this.#waiting.get(base) ?? [];
    waiting.push({ offset, delta });
    this.#waiting.set(base, waiting);
    this.#waits++;
  }

  /** Adds an object, and whatever waited for it; without recursion, since chains may be long. */
  #add(offset: number, object: GitObject): void {
    const ready = [{ offset, object }];
    for (let next; (next = ready.pop());) {
      const id = idOf(next.object, this.options.format);
      this.#objects.set(id, next.object);
      this.#byOffset.set(next.offset, next.object);
      if (this.#waits === 0) continue;
      for (const base of [id, next.offset]) {
        for (const { offset, delta } of this.#waiting.get(base) ?? []) {
          ready.push({ offset, object: this.#apply(next.object, delta) });
          this.#waits--;
        }
        this.#waiting.delete(base);
      }
    }
  }

  #apply(base: GitObject, delta: Uint8Array): GitObject {
    this.#spend(deltaSizes(delta).result);
    return { type: base.type, data: applyDelta(base.data, delta) };
  }

  #readHeader(): { type: number; size: number } {
    let byte = this.#byte();
    const type = (byte >> 4) & 7;
    let size = byte & 15;
    for (let scale = 16; byte & 0x80; scale *= 128) {
      if (scale > 2 ** 42) throw corrupt("an object has no size");
      byte = this.#byte();
      size += (byte & 0x7f) * scale;
    }
    return { type, size };
  }

  #readDistance(): number {
    let byte = this.#byte();
    let distance = byte & 0x7f;
    while (byte & 0x80) {
      byte = this.#byte();
      distance = (distance + 1) * 128 + (byte & 0x7f);
      if (distance > this.#at) throw corrupt("a delta's base lies in front of the pack");
    }
    return distance;
  }

  #readId(): string {
    const { bytes } = this.options.format;
    this.#at += bytes;
    return this.#body.subarray(this.#at - bytes, this.#at).toHex();
  }

  #byte(): number {
    const byte = this.#body[this.#at++];
    if (byte === undefined) throw corrupt("the pack is cut off");
    return byte;
  }

  /** The pack does not say where an object ends: that is what zlib's `bytesWritten` tells. */
  #inflate(size: number): Uint8Array {
    this.#spend(size);
    const input = this.#body.subarray(this.#at);
    // One output buffer of the right size; a longer object than announced fails instead of growing.
    const settings = { info: true, chunkSize: Math.max(64, size + 1), maxOutputLength: size + 1 };
    let result: Inflated;
    try {
      result = inflateSync(input, settings) as unknown as Inflated;
    } catch (cause) {
      throw corrupt("an object cannot be unpacked", cause);
    }
    const { buffer, engine } = result;
    if (buffer.length !== size) throw corrupt("an object has another size than announced");
    this.#at += engine.bytesWritten;
    return new Uint8Array(buffer.buffer as ArrayBuffer, buffer.byteOffset, buffer.byteLength);
  }

  #spend(bytes: number): void {
    this.#bytes += bytes;
    if (this.#bytes > this.options.maxBytes) throw tooMuch(this.options.maxBytes);
  }
}

/** What `info: true` makes of zlib's result; the types of Node do not know it. */
interface Inflated {
  readonly buffer: Buffer;
  readonly engine: { readonly bytesWritten: number };
}

export function tooMuch(maxBytes: number): FlowError {
  return new FlowError(
    "source.too_large",
    `Cannot read the commit: it has more than ${maxBytes} bytes`,
    {
      hint: "raise max_total_size, or keep large files in another repository",
    },
  );
}

function tooMany(maxObjects: number): FlowError {
  const message = `Cannot read the commit: it has more than ${maxObjects} objects`;
  return new FlowError("source.too_large", message, {
    hint: "raise max_files, or keep other files in another repository",
  });
}
