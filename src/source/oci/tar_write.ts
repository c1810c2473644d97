import { BLOCK } from "./tar_header.ts";

export interface PackedFile {
  /** Relative, `/` between parts. */
  readonly path: string;
  readonly content: Uint8Array;
}

/**
 * A tar archive (ustar, with pax headers for long or non-ASCII paths) that depends on the paths and
 * contents alone: in the order given, without folders, owners and times.
 */
export function writeTar(files: readonly PackedFile[]): Uint8Array<ArrayBuffer> {
  const parts = files.flatMap(({ path, content }) => [
    ...nameBlocks(path),
    header(path, content.length, "0"),
    content,
    new Uint8Array(padding(content.length)),
  ]);
  parts.push(new Uint8Array(2 * BLOCK));
  const archive = new Uint8Array(parts.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const part of parts) {
    archive.set(part, at);
    at += part.length;
  }
  return archive;
}

/** What must stand in front where the header has no room for the path. */
function nameBlocks(path: string): Uint8Array[] {
  if (fitsHeader(path)) return [];
  const record = paxRecord("path", path);
  return [
    header("PaxHeader", record.length, "x"),
    record,
    new Uint8Array(padding(record.length)),
  ];
}

function fitsHeader(path: string): boolean {
  return path.length <= 100 && /^[\x20-\x7e]*$/.test(path);
}

/** `length key=value\n`, where the length counts itself. */
function paxRecord(key: string, value: string): Uint8Array {
  const rest = new TextEncoder().encode(` ${key}=${value}\n`);
  let length = rest.length;
  while (`${length}`.length + rest.length !== length) length = `${length}`.length + rest.length;
  return new Uint8Array([...new TextEncoder().encode(`${length}`), ...rest]);
}

function header(path: string, size: number, type: "0" | "x"): Uint8Array {
  const block = new Uint8Array(BLOCK);
  const put = (at: number, text: string) => new TextEncoder().encodeInto(text, block.subarray(at));
  const octal = (at: number, length: number, value: number) =>
    put(at, value.toString(8).padStart(length - 1, "0"));
  put(0, fitsHeader(path) ? path : "long");
  octal(100, 8, 0o644);
  octal(108, 8, 0);
  octal(116, 8, 0);
  octal(124, 12, size);
  octal(136, 12, 0);
  put(148, " ".repeat(8));
  put(156, type);
  put(257, "ustar\x0000");
  octal(148, 7, block.reduce((sum, byte) => sum + byte, 0));
  return block;
}

/** From the end of `size` bytes to the next block. */
function padding(size: number): number {
  return (BLOCK - size % BLOCK) % BLOCK;
}
