import type { Clock } from "../core/clock.ts";
import { FlowError } from "../core/errors.ts";
import { snapshotFile } from "../flow/snapshot_file.ts";
import type { SnapshotFile, Source } from "../flow/source.ts";
import type { Revision, Store } from "../flow/store.ts";
import type { FlowSnapshot } from "../reconcile/load_flows.ts";
import { Blobs } from "./blobs.ts";
import { unpackList } from "./file_list.ts";
import { layOut, shownFile } from "./layout.ts";
import { activeOf, isRemoved, manifestKey, readManifest } from "./manifest.ts";
import { coalesced } from "./nudges.ts";

export interface WorkspaceSourceOptions {
  /** The system store. */
  readonly store: Store;
  readonly name: string;
  readonly clock: Clock;
}

/** A version switches rarely; who loses this many races meets something else. */
const ATTEMPTS = 100;

interface KnownFile {
  readonly digest: string;
  readonly file: SnapshotFile;
}

/** The flows and resources of a workspace's active version, all of one version at a time. */
export class WorkspaceSource implements Source {
  readonly #options: WorkspaceSourceOptions;
  readonly #blobs: Blobs;
  /** Files of the last snapshot by path; what did not change is not read again. */
  #known: ReadonlyMap<string, KnownFile> | null = null;

  constructor(options: WorkspaceSourceOptions) {
    manifestKey(options.name);
    this.#options = options;
    this.#blobs = new Blobs(options);
  }

  /**
   * A workspace that was not published yet has no flows.
   *
   * @throws {FlowError} `workspace.blob_missing`, `workspace.gone` (try again)
   */
  async read(previous: string | null, signal?: AbortSignal): Promise<FlowSnapshot | null> {
    const { store, name } = this.#options;
    let seen: Revision | undefined;
    for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
      signal?.throwIfAborted();
      const entry = await store.get(manifestKey(name));
      const manifest = readManifest(entry);
      const active = activeOf(manifest);
      if (!active) {
        // The store may have lost what it held; what runs is not at fault.
        if (this.#known && !(entry && isRemoved(manifest))) throw gone(name);
        this.#known = null;
        return previous === NOTHING ? null : nothing();
      }
      const version = `${active.list}/${active.prefix}`;
      if (version === previous) return null;
      const known = await this.#read(active.list, signal);
      if (known) {
        this.#known = known;
        const files = new Map([...known].map(([path, { file }]) => [path, file]));
        return layOut({ version, files, problems: [] }, active.prefix);
      }
      // The version was replaced while it was read, unless the manifest still says the same.
      if (entry!.revision === seen) break;
      seen = entry!.revision;
    }
    throw blobMissing(name);
  }

  watch(signal: AbortSignal): AsyncIterable<void> {
    const { store, name, clock } = this.#options;
    return coalesced(store.watch(manifestKey(name), signal), { clock, signal });
  }

  /** `null` when a blob is missing. */
  async #read(
    list: string,
    signal: AbortSignal | undefined,
  ): Promise<ReadonlyMap<string, KnownFile> | null> {
    const { name } = this.#options;
    const bytes = await this.#blobs.read(name, list);
    if (!bytes) return null;
    const files = unpackList(bytes);
    const isKnown = (path: string, digest: string) => this.#known?.get(path)?.digest === digest;
    const wanted = files.filter(({ path, digest }) => !isKnown(path, digest));
    const contents = await this.#blobs.readAll(
      name,
      [...new Set(wanted.map(({ digest }) => digest))],
      signal,
    );
    if (!contents) return null;
    return new Map(files.map(({ path, digest }) => [
      path,
      isKnown(path, digest) ? this.#known!.get(path)! : {
        digest,
        file: snapshotFile(path, shownFile(name, path), contents.get(digest)!),
      },
    ]));
  }
}

const NOTHING = "nothing";

function nothing(): FlowSnapshot {
  return { version: NOTHING, files: new Map(), resources: new Map(), problems: [] };
}

function gone(name: string): FlowError {
  return new FlowError("workspace.gone", `The workspace "${name}" is not in the store any more`, {
    hint:
      `what it had runs on until the next start; publish it again: flowgen sync ${name} --force`,
  });
}

export function blobMissing(name: string): FlowError {
  return new FlowError("workspace.blob_missing", `A file of the workspace "${name}" is missing`, {
    hint: `publish it again: flowgen sync ${name} --force`,
  });
}
