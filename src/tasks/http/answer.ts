import { toFlowError } from "../../core/errors.ts";
import { type Data, isBytes } from "../../flow/event.ts";
import { errorAnswer } from "../../flow/http.ts";
import type { HttpReply, Reply } from "../../flow/task.ts";

const BYTES_HEADERS = { "content-type": "application/octet-stream" };

/** The HTTP answer for what a flow said. */
export function answer(reply: Reply, correlationId: string): Response {
  switch (reply.kind) {
    case "data":
      return dataResponse(reply.data);
    case "list":
      return Response.json(reply.items);
    case "none":
      return new Response(null, { status: 204 });
    case "accepted":
      return new Response(null, { status: 202 });
    case "response":
      return ownResponse(reply.response);
    case "failed":
      return failedResponse(reply.cause, correlationId);
  }
}

function dataResponse(data: Data, status = 200): Response {
  return isBytes(data)
    ? new Response(data as BodyInit, { status, headers: BYTES_HEADERS })
    : Response.json(data, { status });
}

/** Statuses that forbid a body (Fetch standard, "null body status"). */
const NO_BODY = new Set([204, 205, 304]);

function ownResponse({ status, headers: own, body }: HttpReply): Response {
  // Most say nothing of their own, and a Headers object costs as much as all else here.
  if (Object.keys(own).length === 0 && body !== undefined && !NO_BODY.has(status)) {
    return dataResponse(body, status);
  }
  const headers = new Headers(own);
  if (body === undefined || NO_BODY.has(status)) return new Response(null, { status, headers });
  const typed = headers.has("content-type");
  if (isBytes(body)) {
    if (!typed) headers.set("content-type", "application/octet-stream");
    return new Response(body as BodyInit, { status, headers });
  }
  if (!typed) headers.set("content-type", "application/json");
  // Text with a type of its own is that type's text already: HTML, CSV, or finished JSON.
  const text = typeof body === "string" && typed ? body : JSON.stringify(body);
  return new Response(text, { status, headers });
}

/** Status by code, with milliseconds for `Retry-After` where waiting helps. What is not here is a 500. */
const FAILURES: Record<string, { status: number; wait?: number }> = {
  "http.body_invalid": { status: 400 },
  "http.body_timeout": { status: 408 },
  "http.window_full": { status: 429, wait: 1_000 },
  "throttle.limited": { status: 429, wait: 1_000 },
  "http.stopping": { status: 503, wait: 1_000 },
  "delivery.stopped": { status: 503, wait: 1_000 },
  "delivery.timeout": { status: 504 },
};

/**
 * The answer for a failed flow, or for a request that it did not take. Callers always learn the code,
 * but the message only where it speaks of their own request: others may name servers, paths and
 * secrets inside.
 */
export function failedResponse(cause: unknown, correlation_id: string): Response {
  const { code, message, retryAfter } = toFlowError(cause);
  const known = Object.hasOwn(FAILURES, code) ? FAILURES[code] : undefined;
  const told = known !== undefined || code.startsWith("event.");
  const error = { code, message: told ? message : "The flow failed", correlation_id };
  if (known?.wait === undefined) return errorAnswer(known?.status ?? 500, error);
  const seconds = Math.max(1, Math.ceil((retryAfter ?? known.wait) / 1000));
  return errorAnswer(known.status, error, { "retry-after": String(seconds) });
}
