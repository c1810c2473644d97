import { FlowError } from "../../core/errors.ts";
import { type Data, isBytes, type Json } from "../../flow/event.ts";

/** A shape that `convert` can give to data. */
export interface Format {
  /** As in `target_format`. */
  readonly name: string;
  /** @throws {FlowError} `convert.*` for data that does not fit. */
  from(data: Data): Data;
}

/** All formats of this version; a new one is one more entry. */
export const formats: readonly Format[] = [
  { name: "json", from: (data) => typeof data === "object" && !isBytes(data) ? data : parse(data) },
  { name: "bytes", from: (data) => isBytes(data) ? data : new TextEncoder().encode(textOf(data)) },
  { name: "text", from: textOf },
];

function parse(data: Data): Json {
  if (typeof data === "number" || typeof data === "boolean") return data;
  try {
    return JSON.parse(textOf(data)) as Json;
  } catch (cause) {
    if (cause instanceof FlowError) throw cause;
    // The parser's own message quotes the data, which may be secret: it stays in `cause`.
    throw new FlowError("convert.json_invalid", "Cannot read the data as JSON", { cause });
  }
}

function textOf(data: Data): string {
  if (!isBytes(data)) return typeof data === "string" ? data : JSON.stringify(data);
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(data);
  } catch (cause) {
    throw new FlowError("convert.utf8_invalid", "Cannot read the bytes as UTF-8 text", { cause });
  }
}
