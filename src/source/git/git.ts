import type { Clock } from "../../core/clock.ts";
import { FlowError } from "../../core/errors.ts";
import type { Log } from "../../core/log.ts";
import type { Snapshot, SnapshotFile, Source } from "../../flow/source.ts";
import { discover } from "./discover.ts";
import { problemsOf, snapshotFile } from "./files.ts";
import { type Fetch, GitHttp } from "./http.ts";
import { corrupt, type GitObject, treeOfCommit } from "./objects.ts";
import { MissingBase, readPack } from "./pack.ts";
import { checkChoice, type RefChoice, type Resolved, resolveRef } from "./refs.ts";
import { type FetchRequest, NotThere, type Remote } from "./remote.ts";
import { readAllowedKeys, type SshKey } from "./ssh_key.ts";
import { type Listing, listTree, readPath } from "./tree.ts";
import { readGitUrl } from "./url.ts";
import { verifySigned } from "./verify.ts";

/** Sizes are bytes. */
export interface GitLimits {
  readonly maxFileSize: number;
  /** Of all files below the path; where the server cannot leave others out, of the whole commit. */
  readonly maxTotalSize: number;
  readonly maxFiles: number;
}

export interface GitSourceOptions {
  /** https or http, without credentials. */
  readonly url: string;
  /** The remote's default branch when empty. */
  readonly ref?: RefChoice;
  /** A folder, whose files get paths below it, or one file, which then has its own name. */
  readonly path?: string;
  /** The credentials file as JSON, `{ token, username? }`; called whenever the server asks. */
  readonly credentials?: () => Promise<unknown>;
  readonly limits: GitLimits;
  /** Keys one of which must have signed the commit, or the annotated tag that leads to it. */
  readonly verify?: { readonly ssh_keys: readonly string[] };
  readonly clock: Clock;
  readonly log: Log;
  /** For tests. */
  readonly fetch?: Fetch;
}

/** Room for folders, commits and what deltas are written against, beside the files themselves. */
const OTHER_BYTES = 64 * 1024 * 1024;
const OTHER_OBJECTS = 100_000;

/** What the last read left: enough to fetch and to read only what changed. */
interface Kept {
  readonly commit: string;
  readonly objects: ReadonlyMap<string, GitObject>;
  readonly files: ReadonlyMap<string, { readonly id: string; readonly file: SnapshotFile }>;
}

/**
 * Files of one commit, read over git's HTTP protocol into memory. A read that finds nothing changed
 * costs one request and no object; one that finds a change fetches new objects only.
 *
 * Symbolic links and submodules are left out and told in `problems`.
 * See https://git-scm.com/docs/protocol-v2
 */
export class GitSource implements Source {
  readonly #http: GitHttp;
  readonly #path: string;
  readonly #ref: RefChoice;
  readonly #keys: readonly SshKey[] | undefined;
  #remote: Remote | undefined;
  #kept: Kept | undefined;
  /** The commit that was found signed; what a stored version's was, nobody knows. */
  #verified: string | undefined;
  /** What was refused is not fetched again. */
  #refused: { readonly key: string; readonly error: FlowError } | undefined;

  /**
   * @throws {FlowError} `source.url_invalid`, `source.path_invalid`, `source.ref_invalid`,
   * `source.key_invalid`
   */
  constructor(readonly options: GitSourceOptions) {
    const { url, ref = {}, path = "", verify, credentials, clock, fetch } = options;
    checkChoice(ref);
    this.#ref = ref;
    this.#path = readPath(path);
    this.#keys = verify && readAllowedKeys(verify.ssh_keys);
    this.#http = new GitHttp({ url: readGitUrl(url), credentials, clock, fetch });
  }

  /**
   * @param previous Version from the last read, `null` at first; it names commit and path.
   * @throws {FlowError} `source.unavailable` to try again, with `retryAfter` where the server says
   * when; `source.auth_failed`, `source.credentials_invalid`, `source.not_found`,
   * `source.not_supported`, `source.ref_missing`, `source.ref_invalid`, `source.path_missing`,
   * `source.path_unsafe`, `source.too_large`, `source.corrupt`, `source.unverified`.
   */
  async read(previous: string | null, signal?: AbortSignal): Promise<Snapshot | null> {
    try {
      return await this.#read(previous, signal);
    } catch (cause) {
      // The server may have become another one.
      this.#remote = undefined;
      this.#http.restart();
      throw cause;
    }
  }

  async #read(previous: string | null, signal?: AbortSignal): Promise<Snapshot | null> {
    const target = await this.#resolve(signal);
    const version = this.#path === "" ? target.commit : `${target.commit}:${this.#path}`;
    const trusted = !this.#keys || this.#verified === target.commit;
    if (version === previous && trusted) return null;
    const key = `${target.commit} ${target.tag?.id}`;
    if (this.#refused?.key === key) throw this.#refused.error;
    try {
      const snapshot = await this.#load(target, version, signal);
      return version === previous ? null : snapshot;
    } catch (cause) {
      if (cause instanceof FlowError && PERMANENT.includes(cause.code)) {
        this.#refused = { key, error: cause };
      }
      throw cause;
    }
  }

  async #resolve(signal?: AbortSignal): Promise<Resolved> {
    if (this.#ref.commit !== undefined) return { commit: this.#ref.commit };
    return await resolveRef(await this.#connect(signal), this.#ref, this.#http.label, signal);
  }

  async #connect(signal?: AbortSignal): Promise<Remote> {
    return this.#remote ??= await discover(this.#http, signal);
  }

  async #load(target: Resolved, version: string, signal?: AbortSignal): Promise<Snapshot> {
    const remote = await this.#connect(signal);
    const { objects, listing } = await this.#fetch(remote, target, signal);
    if (this.#keys) await this.#verify(target, objects, this.#keys);
    const files = this.#take(listing, objects);
    const ids = [target.commit, target.tag?.id ?? "", ...listing.trees];
    for (const { id } of files.values()) ids.push(id);
    const kept = ids.flatMap((id) => objects.has(id) ? [[id, objects.get(id)!] as const] : []);
    this.#kept = { commit: target.commit, objects: new Map(kept), files };
    return {
      version,
      files: new Map([...files].map(([path, { file }]) => [path, file])),
      problems: problemsOf(listing),
    };
  }

  async #fetch(remote: Remote, target: Resolved, signal?: AbortSignal): Promise<Fetched> {
    const kept = this.#kept;
    if (kept) {
      const fetched = await this.#fetchFrom(remote, target, kept, signal).catch((cause) => {
        // The server takes us to have more than we kept.
        if (cause instanceof MissingBase) return undefined;
        throw cause;
      });
      if (fetched && fetched.listing.missing.size === 0) return fetched;
    }
    const fetched = await this.#fetchFrom(remote, target, undefined, signal);
    if (fetched.listing.missing.size > 0) throw corrupt("the server left out some of them");
    return fetched;
  }

  /** Fetches what `kept` does not have. */
  async #fetchFrom(
    remote: Remote,
    target: Resolved,
    kept: Kept | undefined,
    signal?: AbortSignal,
  ): Promise<Fetched> {
    const objects = new Map(kept?.objects);
    // Of a commit in a large repository, only what lies below the path.
    const withoutFiles = this.#path !== "" && remote.canFilter;
    const tip = this.#keys && target.tag ? target.tag.id : target.commit;
    if (!objects.has(tip)) {
      const complete = this.#path === "" || withoutFiles;
      await this.#add(objects, remote, {
        wants: [tip],
        have: kept?.commit,
        thin: kept !== undefined && complete,
        withoutFiles,
      }, signal);
    }
    const listing = this.#list(target, objects, remote);
    if (!withoutFiles || listing.missing.size === 0) return { objects, listing };
    await this.#add(objects, remote, { wants: [...listing.missing], onlyFiles: true }, signal);
    return { objects, listing: this.#list(target, objects, remote) };
  }

  async #add(
    objects: Map<string, GitObject>,
    remote: Remote,
    request: Omit<FetchRequest, "maxBytes">,
    signal?: AbortSignal,
  ): Promise<void> {
    const { maxTotalSize, maxFiles } = this.options.limits;
    const maxBytes = maxTotalSize + OTHER_BYTES;
    const pack = await remote.fetch({ ...request, maxBytes }, signal).catch((cause) => {
      if (!(cause instanceof NotThere) || this.#ref.commit !== undefined) throw cause;
      const message = `Cannot read from ${this.#http.label}: it changed while it was read`;
      throw new FlowError("source.unavailable", message, { cause });
    });
    const limits = { maxBytes, maxObjects: 8 * maxFiles + OTHER_OBJECTS };
    const added = await readPack(pack, { format: remote.format, known: objects, ...limits });
    for (const [id, object] of added) objects.set(id, object);
    this.options.log.debug("Read a pack of a Git repository", {
      repository: this.#http.label,
      bytes: pack.length,
      objects: added.size,
    });
  }

  #list({ commit }: Resolved, objects: ReadonlyMap<string, GitObject>, remote: Remote): Listing {
    const object = objects.get(commit);
    if (!object) throw corrupt("the server left out the commit");
    const { maxFiles } = this.options.limits;
    const options = { format: remote.format, path: this.#path, maxFiles };
    return listTree(objects, treeOfCommit(object), options);
  }

  async #verify(
    { commit, tag }: Resolved,
    objects: ReadonlyMap<string, GitObject>,
    keys: readonly SshKey[],
  ): Promise<void> {
    const object = tag && objects.get(tag.id);
    const signed = { id: commit, commit: objects.get(commit)! };
    await verifySigned(object ? { ...signed, tag: { name: tag.name, object } } : signed, keys);
    this.#verified = commit;
  }

  /** The files in the order of paths; those that did not change stay the same objects. */
  #take({ files }: Listing, objects: ReadonlyMap<string, GitObject>): Kept["files"] {
    const { maxFileSize, maxTotalSize } = this.options.limits;
    const taken = new Map<string, { id: string; file: SnapshotFile }>();
    let total = 0;
    for (const { path, file, id } of files.toSorted((a, b) => a.path < b.path ? -1 : 1)) {
      const { data } = objects.get(id)!;
      total += data.length;
      if (data.length > maxFileSize) {
        throw tooLarge(`the file ${file} has ${data.length} bytes`, maxFileSize, "max_file_size");
      }
      if (total > maxTotalSize) {
        throw tooLarge("its files together are too large", maxTotalSize, "max_total_size");
      }
      const before = this.#kept?.files.get(path);
      taken.set(path, before?.id === id ? before : { id, file: snapshotFile(path, file, data) });
    }
    return taken;
  }
}

interface Fetched {
  readonly objects: ReadonlyMap<string, GitObject>;
  readonly listing: Listing;
}

/** What is wrong with a commit stays wrong with it. */
const PERMANENT = [
  "source.too_large",
  "source.path_missing",
  "source.path_unsafe",
  "source.unverified",
];

function tooLarge(reason: string, limit: number, field: string): FlowError {
  const message = `Cannot read the commit: ${reason}, allowed are ${limit}`;
  return new FlowError("source.too_large", message, { hint: `make it smaller, or raise ${field}` });
}

/** The commit's id in a version that a `GitSource` gave. */
export function commitOf(version: string): string {
  return version.split(":", 1)[0]!;
}
