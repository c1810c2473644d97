/** Published versions of flows and resources, as tasks, the CLI and the control socket see them. */
import type { ErrorView, FlowError } from "../core/errors.ts";
import type { Snapshot } from "./source.ts";

/**
 * What makes a version go live: `all_valid` wants every flow of it to be right, `each` takes those that
 * are.
 */
export type Activation = "all_valid" | "each";

/**
 * `active` is what runs. `kept` was right and is there for a rollback. `rejected` had a broken flow,
 * `rolled_back` was taken back by a person: both are held, so that the source cannot bring them again.
 */
export type VersionState = "active" | "kept" | "rejected" | "rolled_back";

export interface PublishOptions {
  /** In front of the identities of its flows: `team-a` makes `orders` into `team-a/orders`. */
  readonly prefix?: string;
  /** `all_valid` when left out. */
  readonly activate?: Activation;
  /** Checks and activates a version that is held, and writes all its files again. */
  readonly force?: boolean;
  /**
   * `WorkspacePosition.published` from before the source was read: when something else was published
   * since then, what was read may be older, and is left alone.
   */
  readonly since?: number;
  /** Whether the source of that name gave it, rather than a flow; tasks cannot say so. */
  readonly ofSource?: boolean;
}

/** What is wrong in a version: with a flow of it, or with a file that no flow is made from. */
export interface WorkspaceFinding {
  readonly identity?: string;
  readonly error: FlowError;
}

/**
 * What became of a snapshot. `activated`: it is live now. `unchanged`: it was live before. `rejected`
 * and `held` are stored and not live; see `findings` and `VersionState`. `stale`: something else was
 * published after it was read; nothing was stored.
 */
export interface Published {
  readonly workspace: string;
  readonly version: string;
  readonly outcome: "activated" | "unchanged" | "rejected" | "held" | "stale";
  /** The version that is live now. */
  readonly active: string | null;
  readonly findings: readonly ErrorView[];
}

export interface WorkspaceVersion {
  readonly version: string;
  /** When it was published, RFC 3339. */
  readonly time: string;
  readonly state: VersionState;
  readonly files: number;
  /** What was wrong with it; the first few, with their places. */
  readonly findings: readonly ErrorView[];
}

export interface WorkspaceView {
  readonly name: string;
  readonly active: string | null;
  /** Newest first. */
  readonly versions: readonly WorkspaceVersion[];
}

/** Where a workspace stands, for whoever is about to read its source. */
export interface WorkspacePosition {
  /** The newest version that was published, live or not; what to read against. */
  readonly latest: string | null;
  readonly prefix: string;
  /** Whether the source of that name gave it; what a flow gave may say any version. */
  readonly ofSource: boolean;
  /** Why the newest version was rejected; empty when it was not. */
  readonly findings: readonly ErrorView[];
  /** Grows with every version that is published. */
  readonly published: number;
}

/**
 * Flows and resources in the store, version by version. Each call is atomic: readers see all of one
 * version or all of another, and of several callers at once each wins or sees what the winner did.
 *
 * @throws {FlowError} from every method: `workspace.name_invalid`, `workspace.busy` (try again), and
 * what `Store` throws.
 */
export interface Workspaces {
  /**
   * Stores a snapshot as a version and makes it live where it may be. Below `flows/` and `resources/`
   * its files are those; without `flows/` every YAML and JSON file is a flow.
   *
   * @throws {FlowError} `workspace.path_invalid`
   */
  publish(name: string, snapshot: Snapshot, options?: PublishOptions): Promise<Published>;
  /**
   * Goes back to `version`, or to the one before; what was live is held then.
   *
   * @param version As published, or the start of it where only one version starts so.
   * @throws {FlowError} `workspace.missing`, `workspace.version_missing`, `workspace.version_rejected`,
   * `workspace.nothing_before`, `workspace.blob_missing`
   */
  rollback(name: string, version?: string): Promise<Published>;
  /**
   * Takes all of it away: its flows end on every node, its files go within hours. Publishing to that
   * name begins anew.
   *
   * @throws {FlowError} `workspace.missing`
   */
  remove(name: string): Promise<void>;
  position(name: string): Promise<WorkspacePosition>;
  /** All of them, by name. */
  list(): Promise<WorkspaceView[]>;
}
