import { FlowError } from "../../core/errors.ts";
import { type Json, jsonView } from "../../flow/event.ts";
import type { ScriptHost } from "../../flow/script.ts";
import type { Entry, Expiry } from "../../flow/store.ts";
import { decodeValue, encodeJsonText } from "../../flow/value.ts";
import type { HostOp } from "./inside.ts";

const WRITES: ReadonlySet<HostOp> = new Set(["put", "create", "increment", "delete"]);

/** How often `increment` tries again when others change the same key at the same time. */
const INCREMENT_ATTEMPTS = 100;

/** A hundred years, in seconds: what every store can still add to its clock. */
const GREATEST_TTL = 3_155_760_000;

export const isWrite = (op: HostOp) => WRITES.has(op);

/**
 * Does what a script asks for through `ctx.cache` and `ctx.resource`. Arguments come from the script,
 * so nothing about them is taken for granted.
 *
 * @throws {FlowError} of the store, or `script.failed` for arguments that make no sense.
 */
export async function callHost(
  host: ScriptHost,
  op: HostOp,
  args: readonly unknown[],
): Promise<Json> {
  const [key, value] = args;
  const { cache } = host;
  if (op === "resource") return await host.resource(keyOf("ctx.resource.get", key));
  if (op === "list_keys") {
    const prefix = typeof key === "string" ? key : "";
    const found: string[] = [];
    for await (const entry of cache.list([])) {
      if (entry.key.length === 1 && entry.key[0]!.startsWith(prefix)) found.push(entry.key[0]!);
    }
    return found;
  }
  const path = [keyOf(`ctx.cache.${op}`, key)];
  switch (op) {
    case "get": {
      const entry = await cache.get(path);
      return entry ? decode(entry) : null;
    }
    case "put":
      await cache.put(path, encode(op, value), expiryOf(op, args));
      return true;
    case "create":
      return await cache.create(path, encode(op, value), expiryOf(op, args)) !== null;
    case "delete":
      return await cache.delete(path);
    case "increment":
      return await increment(host, path, value, expiryOf(op, args));
  }
}

async function increment(
  { cache }: ScriptHost,
  path: readonly [string] | string[],
  by: unknown,
  expiry: Expiry | undefined,
): Promise<number> {
  if (typeof by !== "number" || !Number.isFinite(by)) {
    throw wrong("ctx.cache.increment expects a number to add");
  }
  for (let attempt = 0; attempt < INCREMENT_ATTEMPTS; attempt++) {
    const entry = await cache.get(path);
    const before = entry ? decode(entry) : 0;
    if (typeof before !== "number") {
      throw wrong(`ctx.cache.increment cannot add to "${path[0]}", which holds no number`);
    }
    const bytes = encode("increment", before + by);
    const done = entry
      ? await cache.update(path, bytes, entry.revision, expiry)
      : await cache.create(path, bytes, expiry);
    if (done !== null) return before + by;
  }
  throw new FlowError("store.conflict", `Cannot increment "${path[0]}": others keep changing it`);
}

function keyOf(call: string, key: unknown): string {
  if (typeof key === "string" && key !== "") return key;
  throw wrong(`${call} expects a key, which is text and not empty`);
}

/** A ttl that is there and yet `null` was no number that JSON knows. */
function expiryOf(op: HostOp, args: readonly unknown[]): Expiry | undefined {
  if (args.length < 3) return undefined;
  const ttl = args[2];
  if (typeof ttl === "number" && ttl > 0 && ttl <= GREATEST_TTL) {
    return { ttl: Math.ceil(ttl * 1000) };
  }
  throw wrong(
    `ctx.cache.${op} expects its ttl in seconds, greater than 0 and at most ${GREATEST_TTL}`,
  );
}

function encode(op: HostOp, value: unknown): Uint8Array {
  const text = JSON.stringify(value);
  if (text === undefined) throw wrong(`ctx.cache.${op} expects a value that is JSON`);
  return encodeJsonText(text);
}

/** Scripts see bytes as text. */
function decode(entry: Entry): Json {
  return jsonView(decodeValue(entry));
}

function wrong(message: string): FlowError {
  return new FlowError("script.failed", message);
}
