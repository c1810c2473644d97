import type { Clock } from "../core/clock.ts";
import { FlowError, textOf } from "../core/errors.ts";
import type { Store } from "../flow/store.ts";
import { DenoKvStore } from "./deno_kv.ts";
import { storeFault } from "./errors.ts";
import { lockFile } from "./lock.ts";

/**
 * Opens the store in a local file, which belongs to this process until the store is disposed.
 *
 * @param path Of the SQLite file; it and its folder are created where missing.
 * @throws {FlowError} `store.locked`, `store.path_unwritable`, `store.file_invalid`
 */
export async function openDenoKv(path: string, clock: Clock): Promise<Store> {
  const lock = takeFile(path);
  try {
    return new DenoKvStore({ kv: await openKv(path), clock, lock });
  } catch (cause) {
    lock[Symbol.dispose]();
    throw cause;
  }
}

/**
 * Opens a store that someone else keeps, and that other processes write to as well.
 *
 * @param address As `Deno.openKv` takes it; `undefined` for the platform's own.
 * @throws {FlowError} `store.unavailable`
 */
export async function openHostedKv(address: string | undefined, clock: Clock): Promise<Store> {
  try {
    return new DenoKvStore({ kv: await Deno.openKv(address), clock, hosted: true });
  } catch (cause) {
    throw storeFault(cause);
  }
}

/** Makes the folder, takes the lock, and sees that the file can be written, which Deno KV says badly. */
function takeFile(path: string): Disposable {
  let lock: Disposable | undefined;
  try {
    const folder = /^(.*)[/\\]/.exec(path)?.[1];
    if (folder) Deno.mkdirSync(folder, { recursive: true });
    lock = lockFile(path);
    Deno.openSync(path, { write: true, create: true }).close();
    return lock;
  } catch (cause) {
    lock?.[Symbol.dispose]();
    if (cause instanceof FlowError) throw cause;
    const why = textOf(cause);
    throw new FlowError("store.path_unwritable", `Cannot write the store ${path}: ${why}`, {
      hint: "set cache.path to a file in a folder that this user may write",
      cause,
    });
  }
}

async function openKv(path: string): Promise<Deno.Kv> {
  try {
    return await Deno.openKv(path);
  } catch (cause) {
    const why = textOf(cause);
    throw new FlowError("store.file_invalid", `Cannot open the store ${path}: ${why}`, {
      hint: "set cache.path to another file, or move this one away to start with an empty store",
      cause,
    });
  }
}
