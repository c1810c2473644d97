import { type Clock, sleep } from "../core/clock.ts";
import { textOf, toFlowError } from "../core/errors.ts";
import type { Log } from "../core/log.ts";
import type { Random } from "../core/random.ts";
import type { Cluster } from "../flow/cluster.ts";
import type { Key, Revision, Store } from "../flow/store.ts";
import { BLOBS, Blobs, decodeBlob, DELETED_AFTER } from "./blobs.ts";
import { unpackList } from "./file_list.ts";
import { manifestKey, readManifest } from "./manifest.ts";

export interface CollectorOptions {
  /** The system store. */
  readonly store: Store;
  readonly clock: Clock;
  readonly log: Log;
}

export interface CollectorLoopOptions extends CollectorOptions {
  readonly random: Random;
  readonly cluster: Pick<Cluster, "rank">;
  readonly signal: AbortSignal;
}

/** Milliseconds from one collection to the next. */
const INTERVAL = 60 * 60_000;

interface OldBlob {
  readonly key: Key;
  readonly digest: string;
  readonly revision: Revision;
}

/**
 * Deletes blobs that no manifest names and that are older than an hour, each at the revision that was
 * listed: one that a publisher took up meanwhile is another revision, and stays.
 *
 * @returns how many were deleted.
 */
export async function collectBlobs(options: CollectorOptions): Promise<number> {
  const { store, log } = options;
  // What is old is decided before anything is read: a collector that is suspended in between must not
  // wake up to find that everything has become old.
  const old = await oldBlobs(options);
  let deleted = 0;
  for (const [name, blobs] of old) {
    let named: ReadonlySet<string>;
    try {
      named = await namedBlobs(options, name);
    } catch (cause) {
      const { code } = toFlowError(cause, "workspace.unreadable");
      log.warning("Old files of a workspace stay, for it cannot be read", {
        workspace: name,
        code,
        error: textOf(cause),
      });
      continue;
    }
    for (const { key, digest, revision } of blobs) {
      if (!named.has(digest) && await store.delete(key, revision)) deleted++;
    }
  }
  return deleted;
}

/** Collects once an hour, on the node that is first for it. */
export async function collectAgain(options: CollectorLoopOptions): Promise<void> {
  const { clock, random, cluster, log, signal } = options;
  while (!signal.aborted) {
    await sleep(clock, INTERVAL * (0.5 + random.next()), signal);
    if (signal.aborted || cluster.rank("workspace/collector") !== 0) continue;
    try {
      const deleted = await collectBlobs(options);
      if (deleted > 0) log.info("Files that no version has any more were deleted", { deleted });
    } catch (cause) {
      log.warning("Old files were not looked through", { error: textOf(cause) });
    }
  }
}

/** By workspace. */
async function oldBlobs({ store, clock }: CollectorOptions): Promise<Map<string, OldBlob[]>> {
  const now = clock.now();
  const old = new Map<string, OldBlob[]>();
  for await (const entry of store.list([BLOBS])) {
    const { key, revision } = entry;
    const [, name, digest] = key;
    if (key.length !== 3 || now - decodeBlob(entry).written <= DELETED_AFTER) continue;
    const blobs = old.get(name!) ?? [];
    blobs.push({ key, digest: digest!, revision });
    old.set(name!, blobs);
  }
  return old;
}

/** Everything that the manifest of a workspace leads to. */
async function namedBlobs(
  { store, clock }: CollectorOptions,
  name: string,
): Promise<ReadonlySet<string>> {
  const blobs = new Blobs({ store, clock });
  const { versions } = readManifest(await store.get(manifestKey(name)));
  const named = new Set<string>();
  for (const { list } of versions) {
    named.add(list);
    const bytes = await blobs.read(name, list);
    // Without the list nobody can tell what belongs to the version.
    if (!bytes) throw new Error(`the file list ${list} is missing`);
    for (const { digest } of unpackList(bytes)) named.add(digest);
  }
  return named;
}
