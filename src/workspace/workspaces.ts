import type { Clock } from "../core/clock.ts";
import { FlowError } from "../core/errors.ts";
import type { Log } from "../core/log.ts";
import type { Snapshot } from "../flow/source.ts";
import type { Store } from "../flow/store.ts";
import type {
  Published,
  PublishOptions,
  WorkspacePosition,
  Workspaces,
  WorkspaceView,
} from "../flow/workspace.ts";
import { Blobs } from "./blobs.ts";
import { changeManifest } from "./change.ts";
import type { CheckSnapshot } from "./check.ts";
import { unpackList } from "./file_list.ts";
import {
  isRemoved,
  manifestKey,
  readManifest,
  rollbackTarget,
  type VersionRecord,
  viewOf,
  withoutVersions,
  withRollback,
  WORKSPACES,
} from "./manifest.ts";
import { Publisher } from "./publisher.ts";
import { blobMissing } from "./source.ts";

export interface WorkspacesOptions {
  /** The system store. */
  readonly store: Store;
  readonly clock: Clock;
  readonly log: Log;
  readonly check: CheckSnapshot;
}

/** Workspaces in a store: `workspaces/<name>` says what is live, files are `blobs/<name>/<sha256>`. */
export class StoreWorkspaces implements Workspaces {
  readonly #store: Store;
  readonly #log: Log;
  readonly #blobs: Blobs;
  readonly #publisher: Publisher;

  constructor(options: WorkspacesOptions) {
    this.#store = options.store;
    this.#log = options.log;
    this.#blobs = new Blobs(options);
    this.#publisher = new Publisher({ ...options, blobs: this.#blobs });
  }

  publish(name: string, snapshot: Snapshot, options?: PublishOptions): Promise<Published> {
    return this.#publisher.publish(name, snapshot, options);
  }

  async rollback(name: string, version?: string): Promise<Published> {
    // What was live when the caller asked, and where it is to go: losing a race changes neither.
    let asked: { from: string | null; to: string } | undefined;
    const published = await changeManifest<Published>(
      this.#store,
      name,
      async (manifest) => {
        if (isRemoved(manifest)) throw missing(name);
        const target = rollbackTarget(name, manifest, asked?.to ?? version);
        asked ??= { from: manifest.active, to: target.version };
        const result: Published = {
          workspace: name,
          version: target.version,
          outcome: "activated",
          active: target.version,
          findings: target.findings,
        };
        if (target.version === manifest.active) {
          return { next: null, result: { ...result, outcome: "unchanged" } };
        }
        if (manifest.active !== asked.from) throw changed(name);
        // Every node would be stuck with a version that cannot be read.
        if (!await this.#isWhole(name, target)) throw blobMissing(name);
        return { next: withRollback(manifest, target.version), result };
      },
    );
    if (published.outcome === "activated") {
      this.#log.info("A workspace was rolled back", {
        workspace: name,
        version: published.version,
      });
    }
    return published;
  }

  async remove(name: string): Promise<void> {
    await changeManifest(this.#store, name, (manifest) => {
      if (isRemoved(manifest)) throw missing(name);
      return Promise.resolve({ next: withoutVersions(manifest), result: undefined });
    });
    this.#log.info("A workspace was removed", { workspace: name });
  }

  async position(name: string): Promise<WorkspacePosition> {
    const { published, versions } = readManifest(await this.#store.get(manifestKey(name)));
    const latest = versions[0];
    return {
      latest: latest?.version ?? null,
      prefix: latest?.prefix ?? "",
      ofSource: latest?.of_source ?? false,
      findings: latest?.state === "rejected" ? latest.findings : [],
      published,
    };
  }

  async list(): Promise<WorkspaceView[]> {
    const views: WorkspaceView[] = [];
    for await (const entry of this.#store.list([WORKSPACES])) {
      const manifest = readManifest(entry);
      if (!isRemoved(manifest)) views.push(viewOf(entry.key.at(-1)!, manifest));
    }
    return views;
  }

  async #isWhole(name: string, { list }: VersionRecord): Promise<boolean> {
    const bytes = await this.#blobs.read(name, list);
    if (!bytes) return false;
    const digests = new Set(unpackList(bytes).map(({ digest }) => digest));
    return await this.#blobs.readAll(name, [...digests]) !== null;
  }
}

function missing(name: string): FlowError {
  return new FlowError("workspace.missing", `There is no workspace "${name}"`, {
    hint: "see flowgen workspaces for those that are there",
  });
}

function changed(name: string): FlowError {
  return new FlowError(
    "workspace.busy",
    `Cannot go back in "${name}": another version went live meanwhile`,
    { hint: "look at flowgen workspaces, and try again if it is still wanted" },
  );
}
