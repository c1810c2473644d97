import { derive, type FlowEvent, type JsonObject } from "../../flow/event.ts";
import type { Remote, RemoteFile, RemoteSnapshot } from "../../flow/remote.ts";
import { type AsyncRun, Many, type Output, type TaskContext, Tracked } from "../../flow/task.ts";
import { SeenVersion } from "./seen.ts";
import { contentOf, snapshotData } from "./snapshot_event.ts";

export interface SyncOptions {
  readonly remote: Remote;
  /** Whether versions that were seen are read again. */
  readonly force: boolean;
  readonly emit: "files" | "snapshot";
  /** What the event of a file says beside `path` and `content`. */
  ofFile(file: RemoteFile, snapshot: RemoteSnapshot): JsonObject;
  /** What the event of a snapshot says beside `version` and `files`. */
  ofSnapshot(snapshot: RemoteSnapshot): JsonObject;
}

/**
 * Reads a remote at each event and emits its files when they are new. The version counts as seen when
 * all events of it are done, so that what was interrupted comes again.
 *
 * @throws {FlowError} `source.*` for what is wrong in `remote`
 */
export async function syncRun(
  { name, flow, log, services, defer }: TaskContext<unknown>,
  { remote, force, emit, ofFile, ofSnapshot }: SyncOptions,
): Promise<AsyncRun> {
  // Kept between events, so that only what is new is fetched.
  const source = await services.remotes(remote, log);
  const seen = await SeenVersion.of({
    store: services.runtimeStore,
    flow,
    task: name,
    place: { ...(remote.git ?? remote.oci), emit },
    log,
  });
  defer(() => seen.idle());
  let reads = 0;
  let reading: Promise<unknown> = Promise.resolve();

  /** One at a time: the source keeps what it read last. */
  function read(signal: AbortSignal): Promise<RemoteSnapshot | null> {
    const snapshot = reading.then(async () => {
      signal.throwIfAborted();
      return await source.read(force ? null : await seen.read(), signal);
    });
    reading = snapshot.catch(() => {});
    return snapshot;
  }

  function* filesOf(event: FlowEvent, snapshot: RemoteSnapshot): Generator<FlowEvent> {
    for (const file of snapshot.files.values()) {
      const content = contentOf(file);
      const more = { path: file.path, ...ofFile(file, snapshot) };
      yield typeof content === "string"
        ? derive(event, { data: { ...more, content }, subject: name })
        : derive(event, { data: content, subject: name, meta: { ...event.meta, ...more } });
    }
  }

  return async (event, { signal }): Promise<Output> => {
    const snapshot = await read(signal);
    if (!snapshot) return null;
    const order = ++reads;
    for (const { error } of snapshot.problems) {
      log.warning(error.message, { code: error.code, version: snapshot.version });
    }
    const output = emit === "files"
      ? new Many(filesOf(event, snapshot))
      : derive(event, { data: snapshotData(snapshot, ofSnapshot(snapshot)), subject: name });
    return new Tracked(output, ({ ok }) => ok && seen.write(snapshot.version, order));
  };
}
