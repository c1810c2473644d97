import { FlowError } from "../../core/errors.ts";

/** A value kept in parts. */
export interface Blob {
  readonly id: string;
  readonly parts: number;
  readonly bytes: number;
}

/** What is stored under an entry's key: the value or where it is, and until when it is visible. */
export interface Head {
  readonly until: number | undefined;
  readonly content: Uint8Array | Blob;
}

/** Deno KV's limit for one value. */
export const LARGEST_KV_VALUE = 65_536;

/** Format 1 in the high bits, then what follows. */
const FORMAT = 0x10;
const HAS_DEADLINE = 1;
const IS_BLOB = 2;
const DEADLINE_BYTES = 8;
const UUID_CHARS = 36;
const BLOB_BYTES = UUID_CHARS + 4 + 4;

/** The largest value that fits into a head. */
export const LARGEST_INLINE = LARGEST_KV_VALUE - 1 - DEADLINE_BYTES;

export function encodeHead({ until, content }: Head): Uint8Array {
  const isBlob = !(content instanceof Uint8Array);
  const start = until === undefined ? 1 : 1 + DEADLINE_BYTES;
  const head = new Uint8Array(start + (isBlob ? BLOB_BYTES : content.length));
  head[0] = FORMAT | (until === undefined ? 0 : HAS_DEADLINE) | (isBlob ? IS_BLOB : 0);
  if (until !== undefined) new DataView(head.buffer).setFloat64(1, until);
  if (!isBlob) {
    head.set(content, start);
  } else {
    new TextEncoder().encodeInto(content.id, head.subarray(start));
    const numbers = new DataView(head.buffer, start + UUID_CHARS);
    numbers.setUint32(0, content.parts);
    numbers.setUint32(4, content.bytes);
  }
  return head;
}

/** @throws {FlowError} `store.record_newer` */
export function decodeHead(head: unknown): Head {
  if (!(head instanceof Uint8Array) || (head[0]! & 0xf0) !== FORMAT) {
    throw new FlowError("store.record_newer", "Cannot read an entry of this store", {
      hint: "it was written by another program or a newer flowgen; give this one its own store",
    });
  }
  const view = new DataView(head.buffer, head.byteOffset);
  const hasDeadline = (head[0]! & HAS_DEADLINE) !== 0;
  const start = hasDeadline ? 1 + DEADLINE_BYTES : 1;
  const until = hasDeadline ? view.getFloat64(1) : undefined;
  if (!(head[0]! & IS_BLOB)) return { until, content: head.subarray(start) };
  const id = new TextDecoder().decode(head.subarray(start, start + UUID_CHARS));
  const numbers = start + UUID_CHARS;
  const content = { id, parts: view.getUint32(numbers), bytes: view.getUint32(numbers + 4) };
  return { until, content };
}

/**
 * The revision of an entry: the head's versionstamp and, so that an update needs no read to see that
 * the entry expired meanwhile, its deadline.
 */
export function encodeRevision(versionstamp: string, until: number | undefined): string {
  return until === undefined ? versionstamp : `${versionstamp}@${until}`;
}

/** `null` for a text that is no revision of this driver. */
export function decodeRevision(
  revision: string,
): { versionstamp: string; until: number | undefined } | null {
  const match = /^([0-9a-f]{20})(?:@(.+))?$/.exec(revision);
  if (!match) return null;
  return { versionstamp: match[1]!, until: match[2] === undefined ? undefined : Number(match[2]) };
}
