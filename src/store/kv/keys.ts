import type { Key } from "../../flow/store.ts";

/** Room of the entries; an entry's own record is its head. */
export const HEADS = "s";
/** Room of the parts of split values, by blob id and number. */
export const PARTS = "p";
/** Room of what exists of split values, so that a crash leaves none behind. */
export const BLOBS = "b";
/** Bumped by every commit of a hosted store; watching it is how other isolates hear of changes. */
export const CHANGED: Deno.KvKey = ["c"];

export function headKey(key: Key): Deno.KvKey {
  return [HEADS, ...key.map(encodePart)];
}

export function keyOfHead(kvKey: Deno.KvKey): Key {
  return kvKey.slice(1).map((part) => decodePart(part as string));
}

// Deno KV keeps text as UTF-8, which sorts emoji behind U+FFFF and cannot hold half a surrogate pair.
// Giving each code unit from U+D800 up a code point from U+10000 up makes its order that of code
// units and keeps every text apart.
const FIRST_MOVED = 0xd800;
const FIRST_ASTRAL = 0x10000;

function encodePart(part: string): string {
  if (!/[\ud800-\uffff]/.test(part)) return part;
  return part.replace(/[\ud800-\uffff]/g, (unit) => {
    return String.fromCodePoint(unit.charCodeAt(0) - FIRST_MOVED + FIRST_ASTRAL);
  });
}

function decodePart(part: string): string {
  return part.replace(/[\u{10000}-\u{10ffff}]/gu, (moved) => {
    return String.fromCharCode(moved.codePointAt(0)! - FIRST_ASTRAL + FIRST_MOVED);
  });
}
