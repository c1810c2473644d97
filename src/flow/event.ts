import { systemRandom, uuid7Maker } from "../core/random.ts";

export type Json = null | boolean | number | string | readonly Json[] | JsonObject;
export interface JsonObject {
  readonly [key: string]: Json;
}

/** JSON or bytes. Columnar formats join later, so ask with `isBytes` before assuming JSON. */
export type Data = Json | Uint8Array;

/** What a failed event carries to an error branch. `time` is RFC 3339. */
export interface EventError {
  readonly message: string;
  readonly code: string;
  readonly task: string;
  readonly attempts: number;
  readonly time: string;
}

/** Travels with an event to its end. `correlation_id` is a UUIDv7 made at the source. */
export type Meta = JsonObject;

/** One event. Read-only once emitted: a task that changes one makes a new one with `derive`. */
export interface FlowEvent {
  readonly data: Data;
  /** The producing task's name unless the task says otherwise. */
  readonly subject: string;
  readonly id?: string;
  /** Microseconds since 1970, set at the source and kept by what is derived from it. */
  readonly timestamp: number;
  readonly meta: Meta;
  /** Set only on what an error branch receives. */
  readonly error?: EventError;
}

export interface EventInit {
  readonly data: Data;
  readonly subject: string;
  readonly id?: string;
  readonly meta?: Meta;
}

const nextUuid = uuid7Maker(systemRandom);

/** A UUIDv7 of the given time. */
export function uuid7(now: number): string {
  return nextUuid(now);
}

/** A new event at a source: it gets its `correlation_id` here unless `meta` brings one. */
export function newEvent(init: EventInit, now: number): FlowEvent {
  const meta = init.meta === undefined
    ? { correlation_id: nextUuid(now) }
    : "correlation_id" in init.meta
    ? init.meta
    : { ...init.meta, correlation_id: nextUuid(now) };
  return { data: init.data, subject: init.subject, id: init.id, timestamp: now * 1000, meta };
}

/** A new event that shares what did not change. `id` and `error` stay behind unless given. */
export function derive(
  event: FlowEvent,
  change: { data: Data; subject: string; id?: string; meta?: Meta; error?: EventError },
): FlowEvent {
  return {
    data: change.data,
    subject: change.subject,
    id: change.id,
    timestamp: event.timestamp,
    meta: change.meta ?? event.meta,
    error: change.error,
  };
}

export function isBytes(data: Data | undefined): data is Uint8Array {
  return data instanceof Uint8Array;
}

/** The data as JSON: bytes become standard base64 text. What templates, scripts and logs see. */
export function jsonView(data: Data): Json {
  return isBytes(data) ? data.toBase64() : data;
}

/** The event as templates and scripts see it: plain JSON, absent fields are `null`. */
export interface EventView {
  readonly subject: string;
  readonly data: Json;
  readonly id: string | null;
  readonly timestamp: number;
  readonly meta: Meta;
  readonly error: EventError | null;
}

export function eventView(event: FlowEvent): EventView {
  return {
    subject: event.subject,
    data: jsonView(event.data),
    id: event.id ?? null,
    timestamp: event.timestamp,
    meta: event.meta,
    error: event.error ?? null,
  };
}
