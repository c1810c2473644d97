import { FlowError } from "../core/errors.ts";
import { type Data, isBytes, type Json } from "./event.ts";
import type { Entry } from "./store.ts";

/** First byte of a stored value. */
const VERSION = 1;
/** Second byte: what follows. */
const JSON_TEXT = 0x4a;
const RAW = 0x42;

/** Data as tasks and scripts keep it: format version, kind (`J` or `B`), then JSON text or bytes. */
export function encodeValue(data: Data): Uint8Array {
  return isBytes(data) ? withHeader(RAW, data) : encodeJsonText(JSON.stringify(data));
}

/** The same for JSON that is text already. */
export function encodeJsonText(text: string): Uint8Array {
  return withHeader(JSON_TEXT, new TextEncoder().encode(text));
}

function withHeader(kind: number, body: Uint8Array): Uint8Array {
  const value = new Uint8Array(body.length + 2);
  value[0] = VERSION;
  value[1] = kind;
  value.set(body, 2);
  return value;
}

/** @throws {FlowError} `store.record_invalid` for what `encodeValue` did not make */
export function decodeValue({ key, value }: Entry): Data {
  try {
    if (value[0] === VERSION && value[1] === RAW) return new Uint8Array(value.subarray(2)); // a copy: what came may be a view of a buffer in use
    if (value[0] === VERSION && value[1] === JSON_TEXT) {
      return JSON.parse(new TextDecoder().decode(value.subarray(2))) as Json;
    }
  } catch {
    // Told below, together with values of other kinds.
  }
  throw new FlowError("store.record_invalid", `Cannot read the value of "${key.join("/")}"`, {
    hint: "it was written by another program or a newer version",
  });
}
