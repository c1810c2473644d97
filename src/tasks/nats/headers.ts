import type { MsgHdrs } from "@nats-io/nats-core";
import { FlowError } from "../../core/errors.ts";
import type { FlowEvent, JsonObject } from "../../flow/event.ts";
import type { Field } from "../../flow/field.ts";

/** Carries `event.meta.correlation_id` from flow to flow. */
export const CORRELATION_HEADER = "Flowgen-Correlation-Id";
/** By this JetStream tells what was published twice. */
export const ID_HEADER = "Nats-Msg-Id";

/** Ids of ours and of most others; what is longer or stranger is no id. */
const CORRELATION_ID = /^[\w.:-]{1,128}$/;

/** A message's headers as JSON, each as text; `null` without any. A name that repeats is one text. */
export function readHeaders(headers: MsgHdrs | undefined): Record<string, string> | null {
  if (!headers) return null;
  const read: Record<string, string> = {};
  let any = false;
  for (const [name, values] of headers) {
    // As one's own key, whatever it is called.
    if (name === "__proto__") continue;
    read[name] = values.length === 1 ? values[0]! : values.join(", ");
    any = true;
  }
  return any ? read : null;
}

/** Meta of an event that a message became, with the sender's correlation id where there is one. */
export function messageMeta(nats: JsonObject, headers: Record<string, string> | null): JsonObject {
  const id = headers?.[CORRELATION_HEADER];
  return id !== undefined && CORRELATION_ID.test(id) ? { correlation_id: id, nats } : { nats };
}

/**
 * Puts the task's own headers and the correlation id in.
 *
 * @throws {FlowError} `event.header_invalid`, and what templates throw.
 */
export function fillHeaders(
  headers: MsgHdrs,
  map: Readonly<Record<string, Field<string>>>,
  event: FlowEvent,
): MsgHdrs {
  const { correlation_id } = event.meta;
  if (typeof correlation_id === "string" && CORRELATION_ID.test(correlation_id)) {
    headers.set(CORRELATION_HEADER, correlation_id);
  }
  for (const name in map) setHeader(headers, name, map[name]!.at(event));
  return headers;
}

/** @throws {FlowError} `event.header_invalid` */
export function setHeader(headers: MsgHdrs, name: string, value: string): void {
  try {
    headers.set(name, value);
  } catch (cause) {
    // The value may be a secret, so it stays out.
    throw new FlowError("event.header_invalid", `Cannot send the header "${name}"`, {
      hint: "names are plain words; values are one line of text",
      cause,
    });
  }
}
