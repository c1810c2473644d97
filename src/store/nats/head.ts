import type { Revision } from "../../flow/store.ts";
import { FlowError } from "../../core/errors.ts";

/** A value kept in parts. */
export interface Blob {
  readonly id: string;
  readonly parts: number;
  readonly bytes: number;
}

/**
 * What we say of a value in a header of its message, so that the value itself stays as it is and other
 * tools can read it. A message without the header was written by one of them.
 */
export interface Head {
  /** Of the write; tells whether one whose answer was lost has happened. */
  readonly op: string | undefined;
  /** From when on the entry is invisible. */
  readonly until: number | undefined;
  /** Where the value is, when it is not in the message. */
  readonly blob: Blob | undefined;
}

export const HEAD_HEADER = "Flowgen-Entry";
const FORMAT = "1";

/** `1 <op> <until or -> <blob id>/<parts>/<bytes>`, without the blob for most. */
export function encodeHead({ op, until, blob }: Head): string {
  const text = `${FORMAT} ${op} ${until ?? "-"}`;
  return blob ? `${text} ${blob.id}/${blob.parts}/${blob.bytes}` : text;
}

/** @throws {FlowError} `store.record_newer` */
export function decodeHead(header: string | undefined): Head {
  if (!header) return { op: undefined, until: undefined, blob: undefined };
  const [format, op, until, blob] = header.split(" ");
  if (format !== FORMAT) {
    throw new FlowError("store.record_newer", "Cannot read an entry of this bucket", {
      hint: "it was written by a newer flowgen; update this one, or give it a bucket of its own",
    });
  }
  return {
    op,
    until: until === "-" ? undefined : Number(until),
    blob: blob ? blobOf(blob) : undefined,
  };
}

/**
 * The revision of an entry: the number of its message and, so that an update needs no read to see that
 * the entry expired meanwhile, its deadline.
 */
export function encodeRevision(seq: number, until: number | undefined): Revision {
  return until === undefined ? String(seq) : `${seq}@${until}`;
}

/** `null` for a text that is no revision of this driver. */
export function decodeRevision(
  revision: Revision,
): { seq: number; until: number | undefined } | null {
  const match = /^([1-9]\d*)(?:@(.+))?$/.exec(revision);
  if (!match) return null;
  return { seq: Number(match[1]), until: match[2] === undefined ? undefined : Number(match[2]) };
}

function blobOf(text: string): Blob {
  const [id, parts, bytes] = text.split("/");
  return { id: id!, parts: Number(parts), bytes: Number(bytes) };
}
