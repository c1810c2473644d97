import { FlowError } from "../../core/errors.ts";
import { BLOCK, isZero, readHeader } from "./tar_header.ts";

export type EntryKind = "file" | "folder" | "link" | "other";

/** What is done with the entries of an archive, in their order. */
export interface TarVisitor {
  /** Before anything is kept of it. @returns whether to keep its content, for files only. */
  entry(path: string, kind: EntryKind, size: number): boolean;
  file(path: string, content: Uint8Array<ArrayBuffer>): void;
}

const TYPES: Record<string, EntryKind> = {
  "0": "file",
  "\0": "file",
  "7": "file",
  "1": "link",
  "2": "link",
  "5": "folder",
};
/** Entries that have no content, whatever their size field says. */
const WITHOUT_CONTENT = new Set(["1", "2", "3", "4", "5", "6"]);
/** Bytes of an extended header or a long name. */
const LONGEST_EXTENSION = 64 * 1024;
/** Bytes behind the end mark: padding to the block size of a tape, up to what is still sane. */
const LONGEST_PADDING = 1024 * 1024;

interface Content {
  readonly bytes: Uint8Array<ArrayBuffer>;
  filled: number;
  done(bytes: Uint8Array<ArrayBuffer>): void;
}

/** A tar archive read as it comes in: only the file at hand is in memory. */
export class TarReader {
  readonly #visitor: TarVisitor;
  readonly #what: string;
  readonly #block = new Uint8Array(BLOCK);
  #filled = 0;
  /** Where the bytes at hand go; none when they are skipped. */
  #content: Content | null = null;
  #skip = 0;
  #zeroBlocks = 0;
  #padding = 0;
  #path: string | null = null;
  #size: number | null = null;

  /** @param what For messages: `layer sha256:…`. */
  constructor(visitor: TarVisitor, what: string) {
    this.#visitor = visitor;
    this.#what = what;
  }

  /** @throws {FlowError} `source.corrupt`, `source.not_supported`, and what the visitor throws */
  write(chunk: Uint8Array): void {
    for (let at = 0; at < chunk.length;) {
      if (this.#zeroBlocks === 2) return this.#pad(chunk.length - at);
      if (this.#content) at += this.#fill(this.#content, chunk.subarray(at));
      else if (this.#skip > 0) at += this.#pass(chunk.length - at);
      else at += this.#header(chunk.subarray(at));
    }
  }

  /** @throws {FlowError} `source.corrupt` when the archive stops in the middle of something */
  end(): void {
    // An archive without end mark is read by other programs too.
    if (this.#filled > 0 || this.#skip > 0 || this.#content || this.#path !== null) {
      throw this.#corrupt("it ends in the middle of a file");
    }
  }

  #fill(content: Content, chunk: Uint8Array): number {
    const part = chunk.subarray(0, content.bytes.length - content.filled);
    content.bytes.set(part, content.filled);
    content.filled += part.length;
    if (content.filled === content.bytes.length) this.#finish(content);
    return part.length;
  }

  #finish(content: Content): void {
    this.#content = null;
    this.#skip = padding(content.bytes.length);
    content.done(content.bytes);
  }

  #pass(most: number): number {
    const passed = Math.min(this.#skip, most);
    this.#skip -= passed;
    return passed;
  }

  #pad(length: number): void {
    this.#padding += length;
    if (this.#padding <= LONGEST_PADDING) return;
    throw new FlowError(
      "source.too_large",
      `Cannot read ${this.#what}: it goes on for more than ${LONGEST_PADDING} bytes behind its end`,
    );
  }

  #header(chunk: Uint8Array): number {
    const part = chunk.subarray(0, BLOCK - this.#filled);
    this.#block.set(part, this.#filled);
    this.#filled += part.length;
    if (this.#filled === BLOCK) {
      this.#filled = 0;
      this.#entry();
    }
    return part.length;
  }

  #entry(): void {
    if (isZero(this.#block)) {
      this.#zeroBlocks++;
      return;
    }
    const header = this.#zeroBlocks === 0 ? readHeader(this.#block) : null;
    if (!header) throw this.#corrupt("it has a header that is none");
    const { type } = header;
    if (type === "x") return this.#extension(header.size, (bytes) => this.#pax(bytes));
    if (type === "L") {
      return this.#extension(header.size, (bytes) => {
        this.#path = new TextDecoder().decode(bytes).replace(/\0+$/, "");
      });
    }
    const path = this.#path ?? header.name;
    const size = WITHOUT_CONTENT.has(type) ? 0 : this.#size ?? header.size;
    // Comments, targets of links and volume names say nothing about the next entry's content.
    if (type === "g" || type === "K" || type === "V") {
      this.#skip = header.size + padding(header.size);
      return;
    }
    this.#path = this.#size = null;
    if (type === "S") throw this.#sparse();
    // Archives from before 1988 mark folders by the end of their names.
    const kind = path.endsWith("/") && TYPES[type] === "file" ? "folder" : TYPES[type] ?? "other";
    if (!this.#visitor.entry(path, kind, size) || kind !== "file") {
      this.#skip = size + padding(size);
      return;
    }
    this.#take(size, (bytes) => this.#visitor.file(path, bytes));
  }

  #take(size: number, done: Content["done"]): void {
    const content = { bytes: new Uint8Array(size), filled: 0, done };
    this.#content = content;
    if (size === 0) this.#finish(content);
  }

  #extension(size: number, done: Content["done"]): void {
    if (size > LONGEST_EXTENSION) throw this.#corrupt(`it has an extended header of ${size} bytes`);
    this.#take(size, done);
  }

  /** Records of `length key=value\n`; the length counts the whole record, in bytes. */
  #pax(bytes: Uint8Array): void {
    for (let at = 0; at < bytes.length;) {
      const space = bytes.indexOf(0x20, at);
      const length = Number(new TextDecoder().decode(bytes.subarray(at, Math.max(at, space))));
      const end = at + length;
      if (!Number.isInteger(length) || end <= space || end > bytes.length) {
        throw this.#corrupt("it has an extended header that cannot be read");
      }
      const record = new TextDecoder().decode(bytes.subarray(space + 1, end - 1));
      const equals = record.indexOf("=");
      this.#record(record.slice(0, equals), record.slice(equals + 1));
      at = end;
    }
  }

  #record(key: string, value: string): void {
    if (key.startsWith("GNU.sparse.")) throw this.#sparse();
    if (key === "path") this.#path = value;
    if (key !== "size") return;
    if (!/^\d{1,15}$/.test(value)) throw this.#corrupt("it has a size that cannot be read");
    this.#size = Number(value);
  }

  #sparse(): FlowError {
    return new FlowError("source.not_supported", `Cannot read ${this.#what}: it has sparse files`, {
      hint: "pack it without tar's option --sparse",
    });
  }

  #corrupt(why: string): FlowError {
    return new FlowError("source.corrupt", `Cannot read ${this.#what} as a tar archive: ${why}`);
  }
}

/** From the end of `size` bytes to the next block. */
function padding(size: number): number {
  return (BLOCK - size % BLOCK) % BLOCK;
}
