import { FlowError } from "../../core/errors.ts";
import type { JsonObject } from "../../flow/event.ts";
import { readBounded, TOO_LARGE } from "./body.ts";
import { namedValues } from "./named_values.ts";
import { bodyKind, bytesPayload, decodeText, textPayload } from "./payload.ts";

const NO_QUERY: JsonObject = Object.freeze({});

/** Path and query of a request; the path is as it was sent, with the server's prefix. */
export function locationOf(url: string): { path: string; query: JsonObject } {
  const start = url.indexOf("/", url.indexOf("://") + 3);
  const query = url.indexOf("?", start);
  if (query < 0) return { path: url.slice(start), query: NO_QUERY };
  return {
    path: url.slice(start, query),
    query: namedValues(new URLSearchParams(url.slice(query + 1))),
  };
}

/** The headers of `names`, which are in lower case. */
export function pickHeaders(headers: Headers, names: ReadonlySet<string>): JsonObject {
  const picked: Record<string, string> = {};
  for (const name of names) {
    const value = headers.get(name);
    if (value !== null) picked[name] = value;
  }
  return picked;
}

const EMPTY = { payload: null, size: 0 };

/**
 * The payload of a request and its size in bytes, or that it is longer than `limit`.
 *
 * @throws {FlowError} `http.body_invalid`
 */
export async function readBody(request: Request, limit: number) {
  const length = request.headers.get("content-length");
  if (length === "0" || (length === null && request.body === null)) return EMPTY;
  const type = request.headers.get("content-type");
  const kind = bodyKind(type);
  const known = length === null ? NaN : Number(length);
  if (known > limit) {
    await request.body?.cancel();
    return TOO_LARGE;
  }
  // Deno's server never hands on more than the length that was announced, so there is nothing to
  // count, and the platform's own reader is the fastest.
  if (known <= limit && kind === "json") {
    return { payload: textPayload(kind, await bodyText(request)), size: known };
  }
  const bytes = await bodyBytes(request, limit);
  if (bytes === TOO_LARGE) return TOO_LARGE;
  const payload = kind === "bytes" || kind === "multipart"
    ? await bytesPayload(kind, bytes, type!)
    : textPayload(kind, decodeText(bytes, type));
  return { payload, size: bytes.byteLength };
}

async function bodyText(request: Request): Promise<string> {
  try {
    return await request.text();
  } catch (cause) {
    throw incomplete(cause);
  }
}

async function bodyBytes(request: Request, limit: number) {
  try {
    return await readBounded(request.body, limit);
  } catch (cause) {
    throw incomplete(cause);
  }
}

function incomplete(cause: unknown): FlowError {
  return new FlowError("http.body_invalid", "The body did not arrive completely", { cause });
}
