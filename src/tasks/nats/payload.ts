import * as v from "valibot";
import { FlowError } from "../../core/errors.ts";
import { type Data, isBytes, type Json } from "../../flow/event.ts";

export type PayloadMode = "auto" | "json" | "bytes";

/** How messages are read; for task fields. */
export const payloadField = (otherwise: string) =>
  v.pipe(
    v.optional(v.picklist(["auto", "json", "bytes"]), "auto"),
    v.description(
      "What a message becomes: `auto` is JSON where it parses and bytes where it does not, `bytes` " +
        `leaves every message as it is, \`json\` takes nothing else: ${otherwise}.`,
    ),
  );

const text = new TextDecoder("utf-8", { fatal: true });
const encoder = new TextEncoder();

/** Text that is JSON begins with one of these; anything else need not be tried. */
const STARTS = new Set([...' \t\r\n{["-0123456789tfn'].map((char) => char.charCodeAt(0)));

/**
 * Reads a message.
 *
 * @param from Where it came from, for the message of the error.
 * @throws {FlowError} `event.not_json` with `json`
 */
export function decodePayload(mode: PayloadMode, bytes: Uint8Array, from: string): Data {
  if (mode === "bytes") return ownBytes(bytes);
  const value = parsed(bytes);
  if (value !== undefined) return value;
  if (mode === "auto") return ownBytes(bytes);
  throw new FlowError(
    "event.not_json",
    `Cannot read the message on "${from}" as JSON: ${bytes.length} bytes of something else`,
    { hint: "use payload: auto to take such messages as bytes" },
  );
}

function parsed(bytes: Uint8Array): Json | undefined {
  if (bytes.length === 0 || !STARTS.has(bytes[0]!)) return undefined;
  try {
    return JSON.parse(text.decode(bytes));
  } catch {
    return undefined;
  }
}

/** Bytes that do not keep alive what else came with them from the network. */
export function ownBytes(bytes: Uint8Array): Uint8Array {
  return bytes.byteLength < bytes.buffer.byteLength ? bytes.slice() : bytes;
}

/** What is sent for data: compact JSON, or the bytes as they are. */
export function encodePayload(data: Data): Uint8Array {
  return isBytes(data) ? data : encoder.encode(JSON.stringify(data));
}
