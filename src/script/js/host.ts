import { FlowError } from "../../core/errors.ts";
import type { Json } from "../../flow/event.ts";
import type { ScriptHost } from "../../flow/script.ts";
import type { Expiry } from "../../flow/store.ts";
import type { HostOp } from "./inside.ts";

const WRITES: ReadonlySet<HostOp> = new Set(["put", "create", "increment", "delete"]);

/** How often `increment` tries again when others change the same key at the same time. */
const INCREMENT_ATTEMPTS = 100;

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
      return entry ? decode(entry.value) : null;
    }
    case "put":
      await cache.put(path, encode(op, value), expiryOf(op, args[2]));
      return true;
    case "create":
      return await cache.create(path, encode(op, value), expiryOf(op, args[2])) !== null;
    case "delete":
      return await cache.delete(path);
    case "increment":
      return await increment(host, path, value, expiryOf(op, args[2]));
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
    const before = entry ? decode(entry.value) : 0;
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

function expiryOf(op: HostOp, ttl: unknown): Expiry | undefined {
  if (ttl === undefined || ttl === null) return undefined;
  if (typeof ttl === "number" && ttl > 0 && Number.isFinite(ttl)) return { ttl: ttl * 1000 };
  throw wrong(`ctx.cache.${op} expects its ttl in seconds, greater than 0`);
}

function encode(op: HostOp, value: unknown): Uint8Array {
  const text = JSON.stringify(value);
  if (text === undefined) throw wrong(`ctx.cache.${op} expects a value that is JSON`);
  return new TextEncoder().encode(text);
}

/** Entries that something else wrote may be plain text. */
function decode(bytes: Uint8Array): Json {
  const text = new TextDecoder().decode(bytes);
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

function wrong(message: string): FlowError {
  return new FlowError("script.failed", message);
}
