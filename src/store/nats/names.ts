/** How keys are written in NATS subjects, where a part may have letters, digits and `-` `_` `/` `=`. */
import type { Key } from "../../flow/store.ts";

/** Rooms that other tools write too: all that follows the room is one part, written as it is. */
const OPEN_ROOMS: ReadonlySet<string> = new Set(["flows", "resources"]);

/** In front of an open room's name where the rest had to be escaped; no escape starts like this. */
const ESCAPED_ROOM = "=";

/** The first part of what is not an entry: parts of large values. No key is written like this. */
export const PARTS = "=parts";

const PLAIN = /^[-/_=.a-zA-Z0-9]+$/;
const encoder = new TextEncoder();
const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/**
 * The wire name of a key; every key has one and no two share one.
 *
 * ```text
 * ["flows", "demo/reader.yaml"]  flows.demo/reader.yaml
 * ["flows", "two words"]         =flows.two=20words
 * ["cluster", "nodes", "a.b"]    cluster.nodes.a=2Eb
 * ```
 */
export function wireName(key: Key): string {
  const [room, rest] = key;
  if (!OPEN_ROOMS.has(room!) || key.length === 1) return key.map(escapePart).join(".");
  if (key.length === 2 && isPlain(rest!)) return `${room}.${rest}`;
  return `${ESCAPED_ROOM}${room}.${key.slice(1).map(escapePart).join(".")}`;
}

/** The key of a wire name; `null` when it is none that `wireName` gives. */
export function keyOfWire(wire: string): Key | null {
  const dot = wire.indexOf(".");
  const room = dot < 0 ? wire : wire.slice(0, dot);
  if (dot >= 0 && OPEN_ROOMS.has(room)) return [room, wire.slice(dot + 1)];
  const isEscaped = dot >= 0 && room.startsWith(ESCAPED_ROOM) && OPEN_ROOMS.has(room.slice(1));
  const key: string[] = [];
  for (const part of (isEscaped ? wire.slice(1) : wire).split(".")) {
    const plain = unescapePart(part);
    if (plain === null) return null;
    key.push(plain);
  }
  return wireName(key) === wire ? key : null;
}

/** Wire names, with the wildcard `>`, of everything strictly below a prefix. */
export function wiresBelow(prefix: Key): string[] {
  const [room] = prefix;
  if (prefix.length === 0) return [">"];
  if (!OPEN_ROOMS.has(room!)) return [`${prefix.map(escapePart).join(".")}.>`];
  const escaped = [`${ESCAPED_ROOM}${room}`, ...prefix.slice(1).map(escapePart), ">"].join(".");
  return prefix.length === 1 ? [`${room}.>`, escaped] : [escaped];
}

function isPlain(part: string): boolean {
  return PLAIN.test(part) && !part.startsWith(".") && !part.endsWith(".") && !part.includes("..");
}

/** Other bytes of UTF-8 as `=2E`; a half of a surrogate pair, which has no UTF-8, as `=uD800`. */
function escapePart(part: string): string {
  return part.replace(/[^-/_a-zA-Z0-9]/gu, (char) => {
    if (!char.isWellFormed()) return `=u${char.charCodeAt(0).toString(16).toUpperCase()}`;
    return [...encoder.encode(char)]
      .map((byte) => `=${byte.toString(16).toUpperCase().padStart(2, "0")}`).join("");
  });
}

function unescapePart(part: string): string | null {
  try {
    const plain = part.replace(/=u([0-9A-F]{4})|(?:=[0-9A-F]{2})+/g, (escape, half) => {
      if (half !== undefined) return String.fromCharCode(parseInt(half, 16));
      return decoder.decode(Uint8Array.fromHex(escape.replaceAll("=", "")));
    });
    return plain === "" ? null : plain;
  } catch {
    return null; // bytes that are no UTF-8
  }
}
