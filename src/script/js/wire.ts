/**
 * Frames between the main isolate and a script child: a length of 4 bytes, then UTF-8 text. The text's
 * first line is the head, words with spaces between; the rest is the body. Imported by both sides.
 */
export interface Frame {
  readonly head: readonly string[];
  readonly body: string;
}

/** No honest frame comes near; what announces more is not speaking our language. */
const LONGEST_FRAME = 512 * 1024 * 1024;

const encoder = new TextEncoder();

export function encodeFrame(head: string, body = ""): Uint8Array<ArrayBuffer> {
  const text = encoder.encode(body === "" ? head : `${head}\n${body}`);
  const frame = new Uint8Array(4 + text.length);
  new DataView(frame.buffer).setUint32(0, text.length, true);
  frame.set(text, 4);
  return frame;
}

/** Puts frames together again from pieces of any size. */
export class FrameReader {
  #decoder = new TextDecoder();
  #buffer = new Uint8Array(64 * 1024);
  #from = 0;
  #to = 0;

  push(piece: Uint8Array): void {
    if (this.#to + piece.length > this.#buffer.length) this.#makeRoom(piece.length);
    this.#buffer.set(piece, this.#to);
    this.#to += piece.length;
  }

  /** The next whole frame, or `null` until more arrives. @throws {RangeError} for nonsense */
  next(): Frame | null {
    const size = this.#to - this.#from;
    if (size < 4) return null;
    const view = new DataView(this.#buffer.buffer, this.#from, 4);
    const length = view.getUint32(0, true);
    if (length > LONGEST_FRAME) throw new RangeError("frame too long");
    if (size < 4 + length) return null;
    const start = this.#from + 4;
    const text = this.#decoder.decode(this.#buffer.subarray(start, start + length));
    this.#from = start + length;
    if (this.#from === this.#to) this.#from = this.#to = 0;
    const line = text.indexOf("\n");
    const head = line < 0 ? text : text.slice(0, line);
    return { head: head.split(" "), body: line < 0 ? "" : text.slice(line + 1) };
  }

  #makeRoom(more: number): void {
    const size = this.#to - this.#from;
    let capacity = this.#buffer.length;
    while (capacity < size + more) capacity *= 2;
    const buffer = capacity === this.#buffer.length ? this.#buffer : new Uint8Array(capacity);
    buffer.set(this.#buffer.subarray(this.#from, this.#to));
    this.#buffer = buffer;
    this.#from = 0;
    this.#to = size;
  }
}
