/** Archives come in blocks of this many bytes. */
export const BLOCK = 512;

export interface TarHeader {
  readonly name: string;
  readonly size: number;
  /** One character; see `TYPES` in tar.ts. */
  readonly type: string;
}

/**
 * Reads a header block of ustar, pax or GNU tar (POSIX.1-1988 and later).
 *
 * @returns `null` when its checksum says that it is none.
 */
export function readHeader(block: Uint8Array): TarHeader | null {
  if (!checksumFits(block)) return null;
  const size = number(block, 124, 12);
  if (size === null) return null;
  const name = text(block, 0, 100);
  // GNU tar keeps times where ustar keeps the start of a long name.
  const ustar = ascii(block, 257, 8) === "ustar\x0000";
  const prefix = ustar ? text(block, 345, 155) : "";
  return {
    name: prefix === "" ? name : `${prefix}/${name}`,
    size,
    type: String.fromCharCode(block[156]!),
  };
}

export function isZero(block: Uint8Array): boolean {
  return block.every((byte) => byte === 0);
}

/** The sum of all bytes, its own field counted as spaces; some old programs summed signed bytes. */
function checksumFits(block: Uint8Array): boolean {
  const wanted = number(block, 148, 8);
  let unsigned = 0;
  let signed = 0;
  for (let i = 0; i < BLOCK; i++) {
    const byte = i >= 148 && i < 156 ? 0x20 : block[i]!;
    unsigned += byte;
    signed += byte < 128 ? byte : byte - 256;
  }
  return wanted === unsigned || wanted === signed;
}

/** Octal digits, or a big-endian number behind a set first bit, as GNU tar writes large ones. */
function number(block: Uint8Array, at: number, length: number): number | null {
  if (block[at]! & 0x80) {
    let value = block[at]! & 0x7f;
    for (let i = at + 1; i < at + length; i++) value = value * 256 + block[i]!;
    return Number.isSafeInteger(value) ? value : null;
  }
  const digits = ascii(block, at, length).replace(/\0.*$/s, "").trim();
  return /^[0-7]*$/.test(digits) ? Number.parseInt(digits || "0", 8) : null;
}

function ascii(block: Uint8Array, at: number, length: number): string {
  return String.fromCharCode(...block.subarray(at, at + length));
}

/** UTF-8 up to the first NUL; what is no UTF-8 becomes U+FFFD, which `safePath` lets pass. */
function text(block: Uint8Array, at: number, length: number): string {
  const field = block.subarray(at, at + length);
  const end = field.indexOf(0);
  return new TextDecoder().decode(end < 0 ? field : field.subarray(0, end));
}
