import { FlowError } from "../core/errors.ts";
import type { Key } from "./store.ts";

/** Bytes of a key that every driver can keep: its parts as UTF-8, one byte between two parts. */
export const LONGEST_KEY = 1_000;

/** Bytes of a value that every driver can keep. */
export const LARGEST_VALUE = 64 * 1024 * 1024;

/** @throws {FlowError} `store.key_invalid` */
export function checkKey(key: Key): void {
  if (key.length === 0) throw invalid("Cannot use an empty key", "name at least one part");
  checkPrefix(key);
}

/**
 * Like `checkKey`, but `[]` is the prefix of everything.
 *
 * @throws {FlowError} `store.key_invalid`
 */
export function checkPrefix(key: Key): void {
  let units = key.length;
  for (const part of key) {
    if (part === "") {
      throw invalid(
        `Cannot use the key ${JSON.stringify(key)}`,
        "fill or leave out its empty part",
      );
    }
    units += part.length;
  }
  // A UTF-16 unit takes at most three bytes, so most keys need no counting.
  if (units * 3 > LONGEST_KEY && byteLength(key) > LONGEST_KEY) {
    const start = JSON.stringify(key).slice(0, 60);
    throw invalid(
      `Cannot use a key of ${byteLength(key)} bytes that starts with ${start}`,
      `keep keys within ${LONGEST_KEY} bytes, for instance by hashing the long part`,
    );
  }
}

/** @throws {FlowError} `store.value_too_large` */
export function checkValue(key: Key, value: Uint8Array): void {
  if (value.length <= LARGEST_VALUE) return;
  throw new FlowError(
    "store.value_too_large",
    `Cannot store ${value.length} bytes under ${JSON.stringify(key)}`,
    { hint: `keep values within ${LARGEST_VALUE} bytes` },
  );
}

/** One text per key, for maps; any text may be a part, so it cannot be a plain join. */
export function keyText(key: Key): string {
  return JSON.stringify(key);
}

/** The order of `list`: part by part, by code unit, a shorter key before what is below it. */
export function compareKeys(a: Key, b: Key): number {
  const common = Math.min(a.length, b.length);
  for (let i = 0; i < common; i++) {
    if (a[i] !== b[i]) return a[i]! < b[i]! ? -1 : 1;
  }
  return a.length - b.length;
}

/** Whether `key` is `prefix` itself or below it. */
export function isWithin(prefix: Key, key: Key): boolean {
  return prefix.length <= key.length && prefix.every((part, i) => key[i] === part);
}

const encoder = new TextEncoder();

function byteLength(key: Key): number {
  return key.reduce((sum, part) => sum + encoder.encode(part).length, key.length - 1);
}

function invalid(message: string, hint: string): FlowError {
  return new FlowError("store.key_invalid", message, { hint });
}
