/** Public keys as OpenSSH writes them (RFC 4253 6.6, RFC 5656 3.1, RFC 8709). */
import { FlowError } from "../../core/errors.ts";

export interface SshKey {
  /** Such as `ssh-ed25519`. */
  readonly type: string;
  /** The key's own bytes, by which a signature says who made it. */
  readonly blob: Uint8Array;
  /** Whom it belongs to, as the list says. */
  readonly name: string;
}

const TYPES = ["ssh-ed25519", "ssh-rsa", "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384"];

/**
 * Keys that may sign, one for each line: as in a `.pub` file, or as in Git's `allowedSignersFile`.
 * Lines that are empty or start with `#` do not count.
 *
 * @throws {FlowError} `source.key_invalid`
 */
export function readAllowedKeys(lines: readonly string[]): SshKey[] {
  const keys = lines.flatMap((line) => line.split("\n")).map((line) => line.trim())
    .filter((line) => line !== "" && !line.startsWith("#")).map(readKey);
  if (keys.length === 0) {
    throw invalid(
      "the list of signing keys is empty",
      "add a line such as ssh-ed25519 AAAA... name",
    );
  }
  return keys;
}

function readKey(line: string): SshKey {
  const parts = line.split(/\s+/);
  const at = parts.findIndex((part, at) =>
    /^(?:ssh|ecdsa|sk)-\S+$/.test(part) && at + 1 < parts.length
  );
  const [type, text] = [parts[at] ?? "", parts[at + 1] ?? ""];
  if (!TYPES.includes(type)) {
    throw invalid(
      `there is no usable key in "${shorten(line)}"`,
      `use a key of type ${TYPES.join(", ")}`,
    );
  }
  const options = at < 1 ? [] : parts.slice(1, at);
  // Other options narrow what a key may do; to ignore them would trust more than was meant.
  if (options.some((option) => !/^namespaces="?(?:[^"]*,)?git(?:,[^"]*)?"?$/.test(option))) {
    const hint = 'leave out all options but namespaces="git"';
    throw invalid(`the options "${shorten(options.join(" "))}" of a key are not understood`, hint);
  }
  const blob = bytesOf(text);
  const named = blob && new SshReader(blob).text();
  if (!blob || named !== type) {
    throw invalid(`the key in "${shorten(line)}" is cut off`, "copy it again");
  }
  return { type, blob, name: at === 0 ? parts.slice(2).join(" ") : parts[0]! };
}

function shorten(text: string): string {
  return text.length > 40 ? `${text.slice(0, 40)}...` : text;
}

function bytesOf(text: string): Uint8Array | undefined {
  try {
    return Uint8Array.fromBase64(text);
  } catch {
    return undefined;
  }
}

function invalid(reason: string, hint: string): FlowError {
  return new FlowError("source.key_invalid", `Cannot verify signatures: ${reason}`, { hint });
}

/** Strings that are preceded by their length (RFC 4251, 5); from where it is cut off, all is empty. */
export class SshReader {
  #at = 0;
  constructor(readonly data: Uint8Array) {}

  uint32(): number {
    const view = new DataView(this.data.buffer, this.data.byteOffset, this.data.byteLength);
    if (this.#at + 4 > this.data.length) {
      this.#at = this.data.length;
      return 0;
    }
    this.#at += 4;
    return view.getUint32(this.#at - 4);
  }

  bytes(): Uint8Array {
    const length = this.uint32();
    if (this.#at + length > this.data.length) {
      this.#at = this.data.length;
      return new Uint8Array();
    }
    this.#at += length;
    return this.data.subarray(this.#at - length, this.#at);
  }

  text(): string {
    return new TextDecoder().decode(this.bytes());
  }

  /** A number as fixed many bytes, or as many as it has; in front stand zeros or a sign. */
  number(length?: number): Uint8Array {
    const bytes = this.bytes();
    const first = bytes.findIndex((byte) => byte !== 0);
    const plain = first < 0 ? bytes.subarray(0, 0) : bytes.subarray(first);
    if (length === undefined || plain.length > length) return plain;
    const padded = new Uint8Array(length);
    padded.set(plain, length - plain.length);
    return padded;
  }
}
