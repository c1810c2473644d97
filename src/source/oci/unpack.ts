import { pipeline, Readable, type Transform } from "node:stream";
import { createGunzip, createZstdDecompress } from "node:zlib";
import { FlowError, textOf } from "../../core/errors.ts";
import { type FramePart, ZstdFrames } from "./zstd_frames.ts";

export type Bytes = AsyncIterable<Uint8Array>;
export type Packing = "gzip" | "zstd";

/** Bytes that come out at once, however well they were packed. */
const PIECE = 64 * 1024;

/** How bytes are packed, by how they begin; at least 4 of them tell. */
export function packingOf(head: Uint8Array): Packing | null {
  if (head[0] === 0x1f && head[1] === 0x8b) return "gzip";
  const [a, b, c, d] = head;
  if (a === 0x28 && b === 0xb5 && c === 0x2f && d === 0xfd) return "zstd";
  return (a! & 0xf0) === 0x50 && b === 0x2a && c === 0x4d && d === 0x18 ? "zstd" : null;
}

/**
 * Unpacks in pieces of bounded size. `node:zlib` rather than `DecompressionStream`, which refuses
 * gzip files of several members (eStargz layers are such) and hands out a whole bomb at once.
 *
 * @param what For messages: `layer sha256:…`.
 * @throws {FlowError} `source.corrupt`, `source.not_supported`, and what `bytes` throws
 */
export function unpacked(bytes: Bytes, packing: Packing, what: string): AsyncGenerator<Uint8Array> {
  return packing === "gzip" ? gunzip(bytes, what) : unzstd(bytes, what);
}

async function* gunzip(bytes: Bytes, what: string): AsyncGenerator<Uint8Array> {
  yield* through(createGunzip({ chunkSize: PIECE }), bytes, `${what} as gzip`);
}

async function* unzstd(bytes: Bytes, what: string): AsyncGenerator<Uint8Array> {
  const parts = frameParts(bytes, what);
  try {
    for (let first = await parts.next(); !first.done; first = await parts.next()) {
      const frame = oneFrame(first.value, parts);
      yield* through(createZstdDecompress({ chunkSize: PIECE }), frame, `${what} as zstd`);
    }
  } finally {
    await parts.return(undefined);
  }
}

async function* frameParts(bytes: Bytes, what: string): AsyncGenerator<FramePart, undefined> {
  const frames = new ZstdFrames(what);
  for await (const chunk of bytes) yield* frames.push(chunk);
  frames.end();
}

async function* oneFrame(first: FramePart, more: AsyncIterator<FramePart>): Bytes {
  for (let part = first;;) {
    yield part.bytes;
    if (part.last) return;
    const next = await more.next();
    if (next.done) return;
    part = next.value;
  }
}

async function* through(
  transform: Transform,
  bytes: Bytes,
  what: string,
): AsyncGenerator<Uint8Array> {
  // The platform's errors of both kinds look alike, so the stream's own are remembered.
  let own: { cause: unknown } | null = null;
  const watched = async function* () {
    try {
      yield* bytes;
    } catch (cause) {
      own = { cause };
      throw cause;
    }
  };
  const all = pipeline(Readable.from(watched(), { objectMode: true }), transform, () => {});
  try {
    yield* all as AsyncIterable<Uint8Array>;
  } catch (cause) {
    if (own) throw (own as { cause: unknown }).cause;
    throw new FlowError("source.corrupt", `Cannot unpack ${what}: ${textOf(cause)}`, { cause });
  }
}
