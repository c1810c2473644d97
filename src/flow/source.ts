import type { FlowError } from "../core/errors.ts";

/** One file of a snapshot. */
export interface SnapshotFile {
  /** Below the root, with `/` between parts. */
  readonly path: string;
  /** As shown to people, such as `flows/demo/reader.yaml`. */
  readonly file: string;
  /** @throws {FlowError} `source.not_text` */
  text(): string;
  bytes(): Uint8Array;
}

/** What is wrong with a place rather than with a file's content; other files are not concerned. */
export interface SnapshotProblem {
  /** The flow concerned, where it is one: `demo/reader`. */
  readonly identity?: string;
  readonly error: FlowError;
}

/** The files of one moment. */
export interface Snapshot {
  /** Opaque; equal versions have equal files. */
  readonly version: string;
  /** By `path`, in the order of paths. */
  readonly files: ReadonlyMap<string, SnapshotFile>;
  readonly problems: readonly SnapshotProblem[];
}

/** Where files come from: a folder, Git, OCI. */
export interface Source {
  /**
   * @param previous Version from the last read, `null` at first.
   * @returns `null` when nothing changed.
   * @throws {FlowError} `source.unavailable` to try again, `source.*` to fix the config.
   */
  read(previous: string | null, signal?: AbortSignal): Promise<Snapshot | null>;
  /** A nudge to read again, for sources that notice changes by themselves. */
  watch?(signal: AbortSignal): AsyncIterable<void>;
}

/** A flow's identity: the path below its root without the last extension. */
export function identityOfPath(path: string): string {
  return path.replace(/\.[^./]*$/, "");
}
