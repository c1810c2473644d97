/**
 * Git's framing: every packet starts with its own length as four hex digits.
 * See https://git-scm.com/docs/gitprotocol-common
 */
import { concat } from "./bytes.ts";

/** What a packet of length zero, one or two means instead of data. */
export type Marker = "flush" | "delimiter" | "end";

const MARKERS: Readonly<Record<string, Marker>> = {
  "0000": "flush",
  "0001": "delimiter",
  "0002": "end",
};
const HEAD = 4;

const encoder = new TextEncoder();
const decoder = new TextDecoder();

/** A request's body: text lines and markers in order. */
export function encodePackets(packets: readonly (string | { marker: Marker })[]): Uint8Array {
  const text = packets.map((packet) => {
    if (typeof packet !== "string") {
      return Object.keys(MARKERS).find((key) => MARKERS[key] === packet.marker)!;
    }
    const length = encoder.encode(packet).length + 1 + HEAD;
    return `${length.toString(16).padStart(HEAD, "0")}${packet}\n`;
  });
  return encoder.encode(text.join(""));
}

/** Reads packets from chunks that are cut anywhere; holds one packet, 64 KiB at most. */
export class PacketReader {
  readonly #chunks: AsyncIterator<Uint8Array>;
  #rest: Uint8Array = new Uint8Array();

  constructor(chunks: AsyncIterable<Uint8Array>) {
    this.#chunks = chunks[Symbol.asyncIterator]();
  }

  /**
   * The next packet; `null` at the end of the stream.
   *
   * @throws when the stream ends inside a packet or is not made of packets.
   * @throws {ServerError} for an `ERR` packet.
   */
  async next(): Promise<Uint8Array | Marker | null> {
    const head = await this.#take(HEAD);
    if (head === null) return null;
    const digits = decoder.decode(head);
    const marker = MARKERS[digits];
    if (marker) return marker;
    const length = /^[0-9a-f]{4}$/i.test(digits) ? parseInt(digits, 16) : 0;
    if (length < HEAD) throw broken("is not made of packets");
    if (length === HEAD) return new Uint8Array();
    const data = await this.#take(length - HEAD);
    if (data === null) throw broken("ended too early");
    if (startsWith(data, "ERR ")) throw new ServerError(decoder.decode(data.subarray(4)));
    return data;
  }

  /** Like `next`, as text without the closing line feed. */
  async nextLine(): Promise<string | Marker | null> {
    const packet = await this.next();
    return packet instanceof Uint8Array ? decoder.decode(packet).replace(/\n$/, "") : packet;
  }

  /** Lines up to the next marker. @throws when there is none, or they take more than `most` bytes. */
  async lines(most: number): Promise<{ lines: string[]; marker: Marker }> {
    const lines: string[] = [];
    let size = 0;
    for (;;) {
      const line = await this.nextLine();
      if (line === null) throw broken("ended too early");
      if (line === "flush" || line === "delimiter" || line === "end") {
        return { lines, marker: line };
      }
      size += HEAD + line.length; // empty ones take room too
      if (size > most) throw broken("is longer than any list of branches and tags");
      lines.push(line);
    }
  }

  /** `null` when the stream ends before the first byte. */
  async #take(count: number): Promise<Uint8Array | null> {
    if (this.#rest.length < count) {
      const parts = [this.#rest];
      let have = this.#rest.length;
      while (have < count) {
        const { value, done } = await this.#chunks.next();
        if (done) {
          if (have === 0) return null;
          throw broken("ended too early");
        }
        parts.push(value);
        have += value.length;
      }
      this.#rest = concat(parts);
    }
    const taken = this.#rest.subarray(0, count);
    this.#rest = this.#rest.subarray(count);
    return taken;
  }
}

/** What the server answered in place of what was asked. */
export class ServerError extends Error {
  constructor(text: string) {
    super(text.trim().slice(0, 200));
  }
}

function startsWith(data: Uint8Array, text: string): boolean {
  return [...text].every((letter, at) => data[at] === letter.charCodeAt(0));
}

function broken(reason: string): Error {
  return new Error(`its answer ${reason}`);
}
