import { FlowError } from "../../core/errors.ts";
import type { Answer } from "./answer.ts";
import { DigestCheck } from "./digest.ts";
import type { Descriptor } from "./manifest.ts";

/** Times in a row that a download is taken up again after its connection broke. */
const MOST_BREAKS = 5;
/** Bytes with which a connection was worth it. */
const PROGRESS = 1024 * 1024;

/**
 * Reads content by digest, going on where a broken connection ended.
 *
 * @param what For messages: `repository@digest`.
 * @param open Asks for the bytes from an offset on; the answer may begin at 0 all the same.
 */
export async function* readBlob(
  { digest, size }: Descriptor,
  what: string,
  open: (from: number) => Promise<Answer>,
): AsyncGenerator<Uint8Array<ArrayBuffer>> {
  const check = new DigestCheck(digest);
  let have = 0;
  for (let breaks = 0; have < size;) {
    const from = have;
    const answer = await open(from);
    let skip = await begin(answer, from, size, what);
    let broken: FlowError | null = null;
    try {
      for await (const part of answer.chunks()) {
        if (skip >= part.length) {
          skip -= part.length;
          continue;
        }
        const bytes = part.subarray(skip);
        skip = 0;
        have += bytes.length;
        if (have > size) throw mismatch(what, `there are more than its ${size} bytes`);
        check.update(bytes);
        yield bytes;
      }
    } catch (cause) {
      if (!(cause instanceof FlowError) || cause.code !== "source.unavailable") throw cause;
      broken = cause;
    }
    if (have - from >= PROGRESS) breaks = 0;
    if (have < size && breaks++ === MOST_BREAKS) throw broken ?? cut(what, have, size);
  }
  if (!check.fits()) throw mismatch(what, "its bytes have another digest");
}

/**
 * Looks at what comes before the bytes.
 *
 * @returns how many bytes to pass over.
 */
async function begin(
  answer: Answer,
  from: number,
  size: number,
  what: string,
): Promise<number> {
  const { status, length } = answer;
  if (status === 206 && from > 0) {
    const start = /^bytes (\d+)-/.exec(answer.headers.get("content-range") ?? "")?.[1];
    if (Number(start) === from) return 0;
  } else if (status === 200) {
    if (length === null || length === size) return from;
    await answer.cancel();
    throw new FlowError(
      "source.corrupt",
      `Cannot read ${what}: it should have ${size} bytes, and ${length} are announced`,
      { hint: "push it again; the manifest and what the registry keeps do not fit" },
    );
  }
  await answer.cancel();
  if (status === 404) {
    throw new FlowError("source.not_found", `Cannot read ${what}: the registry does not have it`, {
      hint: "push it again; the manifest names it",
    });
  }
  throw new FlowError("source.not_supported", `Cannot read ${what}: the answer was ${status}`);
}

function cut(what: string, have: number, size: number): FlowError {
  return new FlowError(
    "source.unavailable",
    `Cannot read ${what}: the connection ended after ${have} of ${size} bytes`,
  );
}

function mismatch(what: string, why: string): FlowError {
  return new FlowError("source.digest_mismatch", `Cannot use ${what}: ${why}`, {
    hint: "the registry, or a proxy before it, changes what was pushed",
  });
}
