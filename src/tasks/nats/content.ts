import { FlowError } from "../../core/errors.ts";
import { type Data, isBytes, type JsonObject } from "../../flow/event.ts";
import { isMap } from "../../flow/kind.ts";
import { encodePayload } from "./payload.ts";

const text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
const encoder = new TextEncoder();

/** Stored bytes in JSON: as text where they are UTF-8, else in base64. */
export function contentView(bytes: Uint8Array): { content: string; encoding: "text" | "base64" } {
  try {
    return { content: text.decode(bytes), encoding: "text" };
  } catch {
    return { content: new Uint8Array(bytes).toBase64(), encoding: "base64" };
  }
}

/** `contentView` of nothing. */
export const NO_CONTENT: JsonObject = { content: null, encoding: null };

/**
 * What to store of an event: the text in its `content`, decoded where `encoding` is `base64`; of other
 * data all of it, as compact JSON or as the bytes they are.
 *
 * @throws {FlowError} `event.field_invalid`
 */
export function contentOf(data: Data): Uint8Array {
  if (isBytes(data) || !isMap(data) || typeof data.content !== "string") return encodePayload(data);
  if (data.encoding !== "base64") return encoder.encode(data.content);
  try {
    return Uint8Array.fromBase64(data.content);
  } catch (cause) {
    throw new FlowError("event.field_invalid", "Cannot read the content as base64", {
      hint: 'leave "encoding" out where the content is text',
      cause,
    });
  }
}
