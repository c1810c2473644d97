import * as v from "valibot";
import type { EventError, FlowEvent, Meta } from "../../flow/event.ts";
import { isMap } from "../../flow/kind.ts";
import { decodeRecord, encodeRecord } from "../../flow/record.ts";
import { decodeValue, encodeValue } from "../../flow/value.ts";
import { FlowError } from "../../core/errors.ts";

const Head = v.object({
  subject: v.string(),
  id: v.optional(v.string()),
  timestamp: v.number(),
  meta: v.custom<Meta>(isMap),
  error: v.optional(v.custom<EventError>(isMap)),
  pushed: v.number(),
});

const LENGTH_BYTES = 4;

export interface QueuedEvent {
  readonly event: FlowEvent;
  /** Milliseconds since 1970. */
  readonly pushed: number;
}

/**
 * An event as queues keep it: four bytes that say how long its head is, the head as `encodeRecord`
 * writes it, the data as `encodeValue` does. Never empty.
 */
export function encodeEvent({ data, ...rest }: FlowEvent, pushed: number): Uint8Array {
  const head = encodeRecord({ ...rest, pushed });
  const body = encodeValue(data);
  const bytes = new Uint8Array(LENGTH_BYTES + head.length + body.length);
  new DataView(bytes.buffer).setUint32(0, head.length);
  bytes.set(head, LENGTH_BYTES);
  bytes.set(body, LENGTH_BYTES + head.length);
  return bytes;
}

/** @throws {FlowError} `store.record_invalid`, `store.record_newer` */
export function decodeEvent(queue: string, bytes: Uint8Array): QueuedEvent {
  if (bytes.length < LENGTH_BYTES) {
    throw new FlowError("store.record_invalid", `Cannot read an event of the queue "${queue}"`, {
      hint: "it was written by another program",
    });
  }
  const length = new DataView(bytes.buffer, bytes.byteOffset).getUint32(0);
  const end = LENGTH_BYTES + length;
  const head = decodeRecord(bytes.subarray(LENGTH_BYTES, end), Head);
  const data = decodeValue({ key: ["queue", queue], value: bytes.subarray(end), revision: "" });
  const { subject, id, timestamp, meta, error, pushed } = head;
  return { event: { data, subject, id, timestamp, meta, error }, pushed };
}
