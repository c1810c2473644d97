/** Where a snapshot can be fetched from, as `sources:` and the sync tasks name it. */
import type { Log } from "../core/log.ts";
import type { Snapshot, SnapshotFile, Source } from "./source.ts";

export interface GitPlace {
  /** https or http, without credentials. */
  readonly url: string;
  /** One of the four at most; the default branch when none is there. */
  readonly branch?: string;
  readonly tag?: string;
  readonly commit?: string;
  readonly semver?: string;
  /** A folder or file inside the repository. */
  readonly path?: string;
}

export interface OciPlace {
  /** `host[:port]/repository[:tag][@digest]`. */
  readonly artifact: string;
  /** A version range over the tags, in place of a tag. */
  readonly semver?: string;
  /** Which of an index, such as `linux/amd64`. */
  readonly platform?: string;
  /** Whether the registry is spoken to without TLS. */
  readonly plain_http?: boolean;
}

/** Bytes. */
export interface RemoteLimits {
  readonly max_file_size: number;
  readonly max_total_size: number;
  readonly max_files: number;
}

/** Public keys, written out or in a file; what is not signed with one of them is not read. */
export interface Verification {
  readonly ssh_keys?: readonly string[];
  readonly ssh_keys_path?: string;
  readonly cosign_key?: string;
  readonly cosign_key_path?: string;
}

/** One place and how to read it: `git` or `oci`. */
export interface Remote {
  readonly git?: GitPlace;
  readonly oci?: OciPlace;
  /** A file that is read whenever the server asks. */
  readonly credentials_path?: string;
  readonly verify?: Verification;
  readonly limits: RemoteLimits;
}

export interface RemoteFile extends SnapshotFile {
  /** oci: of the layer it came with. */
  readonly digest?: string;
}

export interface RemoteSnapshot extends Snapshot {
  readonly files: ReadonlyMap<string, RemoteFile>;
  /** git: the commit's full id. */
  readonly commit?: string;
  /** oci: of the manifest whose layers these are. */
  readonly digest?: string;
}

/** Keeps what it has read, so that the next `read` fetches only what is new. */
export interface RemoteSource extends Source {
  read(previous: string | null, signal?: AbortSignal): Promise<RemoteSnapshot | null>;
}

/** @throws {FlowError} `source.*` for what is wrong in `remote`; nothing is asked of the server yet. */
export type OpenRemote = (remote: Remote, log: Log) => Promise<RemoteSource>;
