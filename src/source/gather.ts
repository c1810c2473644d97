/**
 * Bytes that come in pieces, as one. A piece of its own costs a hundred times what a byte does, and how
 * small pieces are is up to whoever sends them.
 */
export class Gatherer {
  #bytes: Uint8Array<ArrayBuffer>;
  #length = 0;

  /** @param expected How many there will be, where that is known. */
  constructor(expected = 0) {
    this.#bytes = new Uint8Array(expected);
  }

  get length(): number {
    return this.#length;
  }

  add(piece: Uint8Array): void {
    const needed = this.#length + piece.length;
    if (needed > this.#bytes.length) this.#grow(needed);
    this.#bytes.set(piece, this.#length);
    this.#length = needed;
  }

  /** All that was added; nothing is added any more. */
  whole(): Uint8Array<ArrayBuffer> {
    const room = this.#bytes.length - this.#length;
    // What is kept for long shall not keep much beside itself.
    return room > this.#length / 8
      ? this.#bytes.slice(0, this.#length)
      : this.#bytes.subarray(0, this.#length);
  }

  #grow(needed: number): void {
    const grown = new Uint8Array(Math.max(needed, 2 * this.#bytes.length));
    grown.set(this.#bytes.subarray(0, this.#length));
    this.#bytes = grown;
  }
}
