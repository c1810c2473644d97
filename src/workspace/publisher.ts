import type { Clock } from "../core/clock.ts";
import { errorToJson, type ErrorView } from "../core/errors.ts";
import type { Log } from "../core/log.ts";
import type { Snapshot } from "../flow/source.ts";
import type { Store } from "../flow/store.ts";
import type { Published, PublishOptions, WorkspaceFinding } from "../flow/workspace.ts";
import { type Blobs, REWRITTEN_AFTER } from "./blobs.ts";
import { changeManifest, type Decision } from "./change.ts";
import type { CheckSnapshot } from "./check.ts";
import { pack, type Packed } from "./file_list.ts";
import { layOut, shownFile } from "./layout.ts";
import { type Manifest, manifestKey, type VersionRecord, withVersion } from "./manifest.ts";

export interface PublisherOptions {
  readonly store: Store;
  readonly blobs: Blobs;
  readonly clock: Clock;
  readonly log: Log;
  readonly check: CheckSnapshot;
}

/** Findings that are stored with a version; the rest is as bad. */
const MOST_FINDINGS = 20;

/** Puts snapshots into the store, and decides alone which of them go live. */
export class Publisher {
  /** What was told of each workspace last: a rejection that is found again is no news. */
  readonly #told = new Map<string, string>();

  constructor(readonly options: PublisherOptions) {}

  /** See `Workspaces.publish`. */
  async publish(
    name: string,
    snapshot: Snapshot,
    options: PublishOptions = {},
  ): Promise<Published> {
    manifestKey(name);
    const packed = await pack(snapshot);
    const publication = new Publication(name, snapshot, packed, options, this.options);
    const published = await changeManifest(
      this.options.store,
      name,
      (manifest, known) => publication.decide(manifest, known),
    );
    await publication.refresh();
    this.#tell(published, snapshot);
    return published;
  }

  #tell({ workspace, version, outcome, findings }: Published, { problems }: Snapshot): void {
    const { log } = this.options;
    if (outcome !== "activated" && outcome !== "rejected") return;
    const news = JSON.stringify([version, outcome, findings]);
    if (outcome === "rejected" && this.#told.get(workspace) === news) return;
    this.#told.set(workspace, news);
    const fields = { workspace, version };
    if (outcome === "activated") log.info("A version is live", fields);
    else {
      const [first] = findings;
      const at = first?.position;
      log.error("A version was rejected, the one before runs on", {
        ...fields,
        findings: findings.length,
        error: first?.message,
        ...(at && { file: at.file, line: at.line, column: at.column }),
      });
    }
    for (const { error } of problems) log.warning(error.message, fields);
  }
}

/** One snapshot on its way into the store. */
class Publication {
  #findings: readonly WorkspaceFinding[] | null = null;
  /** When its blobs were seen to last, milliseconds since 1970. */
  #ensured: number | null = null;

  constructor(
    readonly name: string,
    readonly snapshot: Snapshot,
    readonly packed: Packed,
    readonly options: PublishOptions,
    readonly deps: PublisherOptions,
  ) {}

  async decide(manifest: Manifest, known: boolean): Promise<Decision<Published>> {
    const { version } = this.snapshot;
    const { prefix = "", activate = "all_valid", force = false, since } = this.options;
    const of_source = this.options.ofSource ?? false;
    const leave = (outcome: Published["outcome"], findings: readonly ErrorView[] = []) => ({
      next: null,
      result: { workspace: this.name, version, outcome, active: manifest.active, findings },
    });
    const same = manifest.versions.find((one) =>
      one.version === version && one.list === this.packed.digest && one.prefix === prefix &&
      one.of_source === of_source
    );
    const isLatest = same !== undefined && same === manifest.versions[0];
    if (since !== undefined && since !== manifest.published && !isLatest) return leave("stale");
    if (same && !force) {
      if (version === manifest.active) return leave("unchanged");
      if (same.state !== "good") return leave("held", same.findings);
    }
    // What a person took back, no change of the configuration brings again.
    const isTakenBack = manifest.versions.some((one) =>
      one.version === version && one.list === this.packed.digest && one.state === "rolled_back"
    );
    if (isTakenBack && !force) return leave("held");
    this.#findings ??= await this.#check(prefix);
    const findings = this.#findings.slice(0, MOST_FINDINGS).map(({ error }) => errorToJson(error));
    const rejected = this.#findings.length > 0 && activate === "all_valid";
    // Of what is live there is one record, which says where its files are.
    if (rejected && version === manifest.active) return leave("rejected", findings);
    await this.#ensure(force || !known);
    const record: VersionRecord = {
      version,
      list: this.packed.digest,
      prefix,
      of_source,
      time: this.deps.clock.now(),
      files: this.packed.files.length,
      state: rejected ? "rejected" : "good",
      findings: findings as VersionRecord["findings"],
    };
    const next = withVersion(manifest, record);
    const result: Published = {
      workspace: this.name,
      version,
      outcome: rejected ? "rejected" : "activated",
      active: next.active,
      findings,
    };
    return { next, result };
  }

  /** A process that was suspended may have named blobs that were deleted meanwhile. */
  async refresh(): Promise<void> {
    if (this.#ensured === null) return;
    if (this.deps.clock.now() - this.#ensured > REWRITTEN_AFTER) await this.#ensure(true);
  }

  /** @param anew Whatever the store should hold already: the whole of it may have been lost. */
  async #ensure(anew: boolean): Promise<void> {
    const { contents, list, digest } = this.packed;
    this.#ensured = this.deps.clock.now();
    await this.deps.blobs.ensure(this.name, new Map([...contents, [digest, list]]), { anew });
  }

  async #check(prefix: string): Promise<readonly WorkspaceFinding[]> {
    const files = new Map([...this.snapshot.files].map(([path, file]) => [
      path,
      { ...file, path, file: shownFile(this.name, path) },
    ]));
    return await this.deps.check(this.name, layOut({ ...this.snapshot, files }, prefix));
  }
}
