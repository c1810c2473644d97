import type { MsgHdrs } from "@nats-io/nats-core";
import { toFlowError } from "../../core/errors.ts";
import type { jsonView } from "../../flow/event.ts";
import type { Reply } from "../../flow/task.ts";
import { encodePayload } from "./payload.ts";

/**
 * Headers by which services say that a request failed; see "NATS Services" in
 * https://github.com/nats-io/nats-architecture-and-design (ADR-32).
 */
export const SERVICE_ERROR = "Nats-Service-Error";
export const SERVICE_ERROR_CODE = "Nats-Service-Error-Code";

/** An answer as it goes out; `headers` as names and values. */
export interface Answer {
  readonly payload: Uint8Array;
  readonly headers: Readonly<Record<string, string>>;
}

const EMPTY = new Uint8Array();

/** What a caller gets for what a flow said. */
export function answerOf(reply: Reply): Answer {
  switch (reply.kind) {
    case "data":
      return { payload: encodePayload(reply.data), headers: {} };
    case "list":
      return { payload: encodePayload(reply.items), headers: {} };
    case "none":
    case "accepted":
      return { payload: EMPTY, headers: {} };
    case "response": {
      const { status, headers: own, body } = reply.response;
      const failed = status >= 400;
      return {
        payload: body === undefined ? EMPTY : encodePayload(body),
        headers: { ...own, ...(failed && errorHeaders(status, textOf(body))) },
      };
    }
    case "failed":
      return failedAnswer(reply.cause);
  }
}

function textOf(body: Parameters<typeof jsonView>[0] | undefined): string {
  return typeof body === "string" ? body : "The flow failed";
}

/** Codes by what helps the caller, as in HTTP. What is not here is a 500. */
const STATUSES: Record<string, number> = {
  "http.window_full": 429,
  "throttle.limited": 429,
  "http.stopping": 503,
  "delivery.stopped": 503,
  "delivery.timeout": 504,
};

/**
 * The answer for a failed flow. The message is told only where it speaks of the caller's own request:
 * others may name servers, paths and secrets inside.
 */
export function failedAnswer(cause: unknown): Answer {
  const { code, message } = toFlowError(cause);
  const own = code.startsWith("event.");
  const status = own ? 400 : Object.hasOwn(STATUSES, code) ? STATUSES[code]! : 500;
  const told = own || status !== 500;
  return {
    payload: EMPTY,
    headers: {
      ...errorHeaders(status, told ? message : "The flow failed"),
      "Flowgen-Error-Code": code,
    },
  };
}

function errorHeaders(status: number, text: string): Record<string, string> {
  return {
    [SERVICE_ERROR_CODE]: String(status),
    [SERVICE_ERROR]: text.replace(/\s+/g, " ").slice(0, 500),
  };
}

/** What cannot be a header of NATS is left out. */
export function writeHeaders(headers: MsgHdrs, values: Answer["headers"]): MsgHdrs | undefined {
  let any = false;
  for (const [name, value] of Object.entries(values)) {
    if (!/^[\w-]+$/.test(name) || /[\r\n]/.test(value)) continue;
    headers.set(name, value);
    any = true;
  }
  return any ? headers : undefined;
}
