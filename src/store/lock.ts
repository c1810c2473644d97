import { FlowError } from "../core/errors.ts";

/**
 * Takes `<path>.lock` for this process; disposing gives it back. The operating system holds the lock,
 * so it is free again when the process dies, however it does.
 *
 * @throws {FlowError} `store.locked` when another runtime has it; what the file system says when the
 * lock file cannot be written.
 */
export function lockFile(path: string): Disposable {
  const file = Deno.openSync(`${path}.lock`, { read: true, write: true, create: true });
  try {
    if (!file.tryLockSync(true)) throw locked(path, readOwner(file));
    file.truncateSync();
    file.writeSync(new TextEncoder().encode(`${Deno.pid}\n`));
  } catch (cause) {
    file.close();
    throw cause;
  }
  let open = true;
  return {
    [Symbol.dispose]() {
      if (open) file.close();
      open = false;
      // The file stays: removing it could take away one that another process has just locked.
    },
  };
}

/** The owner's process id, where it can be read: Windows keeps others from reading a locked file. */
function readOwner(file: Deno.FsFile): string | undefined {
  const bytes = new Uint8Array(32);
  try {
    const count = file.readSync(bytes) ?? 0;
    return /^\d+/.exec(new TextDecoder().decode(bytes.subarray(0, count)))?.[0];
  } catch {
    return undefined;
  }
}

function locked(path: string, pid: string | undefined): FlowError {
  const owner = pid === undefined ? "another process" : `process ${pid}`;
  return new FlowError("store.locked", `Cannot open the store ${path}: ${owner} is using it`, {
    hint: "ask the running flowgen with `flowgen status`, stop it, or set another cache.path",
  });
}
