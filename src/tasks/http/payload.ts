import { FlowError } from "../../core/errors.ts";
import type { Json } from "../../flow/event.ts";
import { namedValues } from "./named_values.ts";

/** Where a body's content-type leads. */
export type BodyKind = "json" | "form" | "multipart" | "text" | "bytes" | "unnamed";

/** @param type The content-type header as it came. */
export function bodyKind(type: string | null): BodyKind {
  if (type === null || type === "") return "unnamed";
  if (type === "application/json") return "json"; // nearly always, and without cutting anything
  const name = type.split(";", 1)[0]!.trim().toLowerCase();
  if (name === "application/json" || name.endsWith("+json")) return "json";
  if (name === "application/x-www-form-urlencoded") return "form";
  if (name === "multipart/form-data") return "multipart";
  return name.startsWith("text/") ? "text" : "bytes";
}

/**
 * `event.data.payload` of a body that is text.
 *
 * @throws {FlowError} `http.body_invalid`
 */
export function textPayload(kind: "json" | "form" | "text" | "unnamed", text: string): Json {
  if (text === "") return null;
  switch (kind) {
    case "json":
      return parseJson(text);
    case "form":
      // `curl -d '{…}'` says "form" unless told otherwise. Encoded forms never start like this.
      if (text[0] === "{" || text[0] === "[") return jsonOr(text, () => parseForm(text));
      return parseForm(text);
    case "text":
      return text;
    case "unnamed":
      return jsonOr(text, () => text);
  }
}

/**
 * `event.data.payload` of any other body: the fields of a multipart form, with files as
 * `{ filename, content_type, data }`, or standard base64 text.
 *
 * @throws {FlowError} `http.body_invalid`
 */
export async function bytesPayload(
  kind: "multipart" | "bytes",
  bytes: Uint8Array<ArrayBuffer>,
  type: string,
): Promise<Json> {
  if (bytes.byteLength === 0) return null;
  if (kind === "bytes") return bytes.toBase64();
  let form: FormData;
  try {
    form = await new Response(bytes, { headers: { "content-type": type } }).formData();
  } catch (cause) {
    throw new FlowError("http.body_invalid", "The body is not a valid multipart form", { cause });
  }
  const pairs: [string, Json][] = [];
  for (const [name, value] of form) {
    pairs.push([name, typeof value === "string" ? value : await filePayload(value)]);
  }
  return namedValues(pairs);
}

async function filePayload(file: File): Promise<Json> {
  const data = (await file.bytes()).toBase64();
  return { filename: file.name, content_type: file.type, data };
}

const UTF8 = new TextDecoder("utf-8", { fatal: true });

/**
 * Text of a body in the charset its content-type names; UTF-8 when it names none.
 *
 * @throws {FlowError} `http.body_invalid`
 */
export function decodeText(bytes: Uint8Array, type: string | null): string {
  const charset = type && /;\s*charset="?([^";\s]+)/i.exec(type)?.[1];
  let decoder: TextDecoder;
  try {
    decoder = charset ? new TextDecoder(charset, { fatal: true }) : UTF8;
  } catch (cause) {
    throw new FlowError("http.body_invalid", `Cannot read the charset "${charset}"`, { cause });
  }
  try {
    return decoder.decode(bytes);
  } catch (cause) {
    throw new FlowError("http.body_invalid", `The body is not valid ${charset ?? "UTF-8"}`, {
      cause,
    });
  }
}

function parseForm(text: string): Json {
  return namedValues(new URLSearchParams(text));
}

function parseJson(text: string): Json {
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new FlowError("http.body_invalid", "The body is not valid JSON", { cause });
  }
}

function jsonOr(text: string, otherwise: () => Json): Json {
  try {
    return JSON.parse(text);
  } catch {
    return otherwise();
  }
}
