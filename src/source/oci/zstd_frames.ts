import { FlowError } from "../../core/errors.ts";

/** The largest window a frame may ask memory for, bytes; `zstd -19` asks for 8 MiB. */
const LARGEST_WINDOW = 32 * 1024 * 1024;

/** A piece of a stream, and whether a frame ends with it. */
export interface FramePart {
  readonly bytes: Uint8Array;
  readonly last: boolean;
}

/**
 * Finds where the frames of a zstd stream end, from their headers alone: the platform's decompressor
 * stops after the first one. Skippable frames, as `zstd:chunked` has them, are left out. See RFC 8878.
 */
export class ZstdFrames {
  readonly #what: string;
  #expected: "frame" | "block" = "frame";
  /** Bytes of the header at hand, as far as they have come. */
  #head: number[] = [];
  /** Bytes of the block at hand that are still to come. */
  #block = 0;
  #skip = 0;
  #checksum = false;
  #lastBlock = false;

  /** @param what For messages: `layer sha256:…`. */
  constructor(what: string) {
    this.#what = what;
  }

  /** @throws {FlowError} `source.corrupt`, `source.not_supported` */
  *push(chunk: Uint8Array): Generator<FramePart> {
    for (let at = 0; at < chunk.length;) {
      if (this.#skip > 0) {
        const skipped = Math.min(this.#skip, chunk.length - at);
        this.#skip -= skipped;
        at += skipped;
      } else if (this.#block > 0) {
        const bytes = chunk.subarray(at, at + this.#block);
        this.#block -= bytes.length;
        at += bytes.length;
        yield { bytes, last: this.#frameEnds() };
      } else {
        this.#head.push(chunk[at++]!);
        const complete = this.#expected === "frame" ? this.#readFrame() : this.#readBlock();
        if (!complete) continue;
        const bytes = new Uint8Array(this.#head);
        this.#head = [];
        if (this.#skip === 0) yield { bytes, last: this.#frameEnds() };
      }
    }
  }

  /** @throws {FlowError} `source.corrupt` when the stream stops inside a frame */
  end(): void {
    const inside = this.#expected === "block" || this.#head.length > 0 || this.#skip > 0;
    if (inside) throw this.#corrupt("it ends in the middle");
  }

  #frameEnds(): boolean {
    if (!this.#lastBlock || this.#block > 0) return false;
    this.#lastBlock = false;
    this.#expected = "frame";
    return true;
  }

  /** @returns whether the header is complete. */
  #readFrame(): boolean {
    const head = this.#head;
    if (head.length < 5) return false;
    const magic = littleEndian(head, 0, 4);
    if (Math.floor(magic / 16) === 0x184d2a5) {
      if (head.length < 8) return false;
      this.#skip = littleEndian(head, 4, 4);
      return true;
    }
    if (magic !== 0xfd2fb528) throw this.#corrupt("it has a frame that is none");
    const flags = head[4]!;
    const single = (flags & 0x20) !== 0;
    const sizeLength = [single ? 1 : 0, 2, 4, 8][flags >> 6]!;
    const length = 5 + (single ? 0 : 1) + [0, 1, 2, 4][flags & 3]! + sizeLength;
    if (head.length < length) return false;
    const window = single
      ? littleEndian(head, length - sizeLength, sizeLength)
      : windowOf(head[5]!);
    if (window > LARGEST_WINDOW) {
      throw new FlowError(
        "source.not_supported",
        `Cannot unpack ${this.#what}: it wants a window of ${window} bytes`,
        { hint: "compress it without --long and --ultra, or with gzip" },
      );
    }
    this.#checksum = (flags & 4) !== 0;
    this.#expected = "block";
    return true;
  }

  /** @returns whether the header is complete. */
  #readBlock(): boolean {
    if (this.#head.length < 3) return false;
    const header = littleEndian(this.#head, 0, 3);
    const repeated = ((header >> 1) & 3) === 1;
    this.#lastBlock = (header & 1) === 1;
    this.#block = repeated ? 1 : header >> 3;
    if (this.#lastBlock && this.#checksum) this.#block += 4;
    return true;
  }

  #corrupt(why: string): FlowError {
    return new FlowError("source.corrupt", `Cannot unpack ${this.#what} as zstd: ${why}`);
  }
}

function windowOf(descriptor: number): number {
  const base = 2 ** (10 + (descriptor >> 3));
  return base + base / 8 * (descriptor & 7);
}

function littleEndian(bytes: readonly number[], at: number, length: number): number {
  let value = 0;
  for (let i = length - 1; i >= 0; i--) value = value * 256 + bytes[at + i]!;
  return value;
}
