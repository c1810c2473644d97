import * as v from "valibot";
import { FlowError } from "../core/errors.ts";
import type { JsonObject } from "./event.ts";
import { isMap } from "./kind.ts";

/** Format of the records this version writes. */
const VERSION = 1;

const encoder = new TextEncoder();
const decoder = new TextDecoder("utf-8", { fatal: true });

/** A record as bytes for a `Store`: JSON with the format version in `v`. */
export function encodeRecord(record: object): Uint8Array {
  return encoder.encode(JSON.stringify({ v: VERSION, ...record }));
}

/**
 * Reads what `encodeRecord` wrote, without its `v`; with a schema the result has its type.
 *
 * @throws {FlowError} `store.record_invalid`, `store.record_newer`
 */
export function decodeRecord(bytes: Uint8Array): JsonObject;
export function decodeRecord<S extends v.GenericSchema>(
  bytes: Uint8Array,
  schema: S,
): v.InferOutput<S>;
export function decodeRecord(bytes: Uint8Array, schema?: v.GenericSchema): unknown {
  const { v: version, ...record } = parse(bytes);
  if (typeof version !== "number" || version < 1) throw invalid('a version in "v"');
  if (version > VERSION) {
    throw new FlowError("store.record_newer", `Cannot read a record of format ${version}`, {
      hint: "it was written by a newer flowgen; update this one, or give it a store of its own",
    });
  }
  if (!schema) return record;
  const checked = v.safeParse(schema, record);
  if (!checked.success) throw invalid(checked.issues[0].message);
  return checked.output;
}

function parse(bytes: Uint8Array): JsonObject {
  try {
    const record = JSON.parse(decoder.decode(bytes));
    if (isMap(record)) return record as JsonObject;
  } catch (cause) {
    throw invalid("JSON text", cause);
  }
  throw invalid("a JSON object");
}

function invalid(expected: string, cause?: unknown): FlowError {
  return new FlowError("store.record_invalid", `Cannot read a record: expected ${expected}`, {
    hint: "the key may hold data of another program",
    cause,
  });
}
