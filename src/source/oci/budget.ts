import { FlowError } from "../../core/errors.ts";

/** How much a source may bring; numbers are bytes, uncompressed. */
export interface Limits {
  readonly maxFileSize: number;
  readonly maxTotalSize: number;
  readonly maxFiles: number;
}

/** What headers, padding and skipped entries of archives may take per file allowed, bytes. */
const OVERHEAD = 4 * 1024;
const LEAST_OVERHEAD = 1024 * 1024;

/** What is left of the limits while the layers of one artifact are unpacked, before memory is spent. */
export class Budget {
  #files = 0;
  #size = 0;
  #unpacked = 0;
  #packed = 0;

  /** @param what For messages: the reference. */
  constructor(readonly limits: Limits, readonly what: string) {}

  /** @throws {FlowError} `source.too_large` */
  file(path: string, size: number): void {
    const { maxFileSize, maxTotalSize, maxFiles } = this.limits;
    if (size > maxFileSize) {
      throw tooLarge(
        `Cannot use "${path}" of ${this.what}: it has ${size} bytes, and max_file_size is ${maxFileSize}`,
        "raise max_file_size, or leave the file out",
      );
    }
    this.#files++;
    this.#size += size;
    if (this.#files > maxFiles) {
      throw tooLarge(
        `Cannot use ${this.what}: it has more than max_files, ${maxFiles} files`,
        "raise max_files, or leave files out",
      );
    }
    if (this.#size > maxTotalSize) throw this.#total();
  }

  /**
   * What a layer has before it is unpacked; more than everything may have is never downloaded, in one
   * layer or in many: what is packed can be long and hold nothing.
   *
   * @throws {FlowError} `source.too_large`
   */
  packed(bytes: number): void {
    this.#packed += bytes;
    if (this.#packed > this.#most) throw this.#total();
  }

  /**
   * Counts bytes that came out of an archive, whatever they are.
   *
   * @throws {FlowError} `source.too_large`
   */
  unpacked(bytes: number): void {
    this.#unpacked += bytes;
    if (this.#unpacked > this.#most) throw this.#total();
  }

  get #most(): number {
    const { maxTotalSize, maxFiles } = this.limits;
    return maxTotalSize + LEAST_OVERHEAD + maxFiles * OVERHEAD;
  }

  #total(): FlowError {
    return tooLarge(
      `Cannot use ${this.what}: its files have more than max_total_size, ` +
        `${this.limits.maxTotalSize} bytes`,
      "raise max_total_size, or leave files out",
    );
  }
}

function tooLarge(message: string, hint: string): FlowError {
  return new FlowError("source.too_large", message, { hint });
}
