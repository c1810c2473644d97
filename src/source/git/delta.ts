/** Objects written as their difference from another. See https://git-scm.com/docs/gitformat-pack */
import { corrupt } from "./objects.ts";

/** Sizes that stand at the start of a delta: of what it applies to, and of what comes out. */
export function deltaSizes(delta: Uint8Array): { base: number; result: number; at: number } {
  const base = readSize(delta, 0);
  const result = readSize(delta, base.at);
  return { base: base.size, result: result.size, at: result.at };
}

/** @throws {FlowError} `source.corrupt` when it does not fit its base */
export function applyDelta(base: Uint8Array, delta: Uint8Array): Uint8Array {
  const sizes = deltaSizes(delta);
  if (sizes.base !== base.length) throw corrupt("a delta belongs to another object");
  const result = new Uint8Array(sizes.result);
  let to = 0;
  for (let at = sizes.at; at < delta.length;) {
    const command = delta[at++]!;
    let from = 0;
    let size = command;
    let source = delta;
    if (command & 0x80) {
      size = 0;
      source = base;
      for (let bit = 0; bit < 4; bit++) {
        if (command & (1 << bit)) from += delta[at++]! * 2 ** (8 * bit);
      }
      for (let bit = 0; bit < 3; bit++) {
        if (command & (0x10 << bit)) size |= delta[at++]! << (8 * bit);
      }
      if (size === 0) size = 0x10000;
    } else {
      from = at;
      at += size;
    }
    // A number that ended the delta too early was read as less than it is.
    const fits = size > 0 && at <= delta.length && from + size <= source.length &&
      to + size <= result.length;
    if (!fits) throw corrupt("a delta points outside of its base");
    result.set(source.subarray(from, from + size), to);
    to += size;
  }
  if (to !== result.length) throw corrupt("a delta is too short");
  return result;
}

function readSize(delta: Uint8Array, at: number): { size: number; at: number } {
  let size = 0;
  for (let scale = 1;; scale *= 128) {
    const byte = delta[at++];
    if (byte === undefined || scale > 2 ** 42) throw corrupt("a delta has no sizes");
    size += (byte & 0x7f) * scale;
    if (byte < 0x80) return { size, at };
  }
}
