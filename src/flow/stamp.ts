/** How state of elected flows looks in the store: who wrote it stands before the value. */

/** No text in UTF-8 starts like this, nor does what `encodeValue` and `encodeRecord` make. */
const MAGIC = [0xf5, 0x46, 0x47];
const VERSION = 1;
/** Magic, version, kind, epoch and deadline. */
const HEADER = MAGIC.length + 2 + 8 + 8;

const VALUE = 0;
const TOMBSTONE = 1;

export interface Stamped {
  /** 0 for what was written without a stamp. */
  readonly epoch: number;
  /** `null`: there is no value; somebody made sure of it. */
  readonly value: Uint8Array | null;
  /** Wall clock instant at which it expires; `undefined` when it stays, or was written unstamped. */
  readonly until: number | undefined;
}

export function encodeStamped({ epoch, value, until }: Stamped): Uint8Array {
  const bytes = new Uint8Array(HEADER + (value?.length ?? 0));
  bytes.set([...MAGIC, VERSION, value ? VALUE : TOMBSTONE]);
  const view = new DataView(bytes.buffer);
  view.setFloat64(5, epoch);
  view.setFloat64(13, until ?? Infinity);
  if (value) bytes.set(value, HEADER);
  return bytes;
}

/** Bytes without a stamp are a value of epoch 0. The value shares its memory with `bytes`. */
export function decodeStamped(bytes: Uint8Array): Stamped {
  const stamped = bytes.length >= HEADER && MAGIC.every((byte, at) => bytes[at] === byte) &&
    bytes[3] === VERSION;
  if (!stamped) return { epoch: 0, value: bytes, until: undefined };
  const view = new DataView(bytes.buffer, bytes.byteOffset, HEADER);
  const until = view.getFloat64(13);
  return {
    epoch: view.getFloat64(5),
    value: bytes[4] === TOMBSTONE ? null : bytes.subarray(HEADER),
    until: until === Infinity ? undefined : until,
  };
}
