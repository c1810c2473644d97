import { sep } from "node:path";
import type { Clock } from "../core/clock.ts";
import { sha256Hex } from "../core/digest.ts";
import { FlowError } from "../core/errors.ts";
import {
  identityOfPath,
  type Snapshot,
  type SnapshotFile,
  type SnapshotProblem,
  type Source,
} from "../flow/source.ts";
import { discover, type Found, inodeOf, targetOf } from "./discover.ts";
import { watchFolder, type WatchFs } from "./watch.ts";

export interface FsSourceOptions {
  /** Folder, file, or pattern with `*`: `flows.path` of config.yaml. */
  readonly path: string;
  readonly clock: Clock;
  /** For tests. */
  readonly watchFs?: WatchFs;
}

interface Cached {
  readonly signature: string;
  readonly file: SnapshotFile;
  /** SHA-256 of the content. */
  readonly digest: string;
}

/** Flow files of the local disk. Files that did not change are not read again. */
export class FsSource implements Source {
  readonly #options: FsSourceOptions;
  #cache = new Map<string, Cached>();

  constructor(options: FsSourceOptions) {
    this.#options = options;
  }

  /**
   * A missing folder is no error but a snapshot without files that says so, because it may be mounted
   * later.
   */
  async read(previous: string | null, signal?: AbortSignal): Promise<Snapshot | null> {
    const { path } = this.#options;
    const problems: SnapshotProblem[] = [];
    const found = await this.#discover(problems);
    const cache = new Map<string, Cached>();
    await inBatches(found, async (one) => {
      signal?.throwIfAborted();
      const cached = await this.#load(one, problems);
      if (cached) cache.set(one.path, cached);
    });
    this.#cache = cache;
    const names = found.map((one) => one.path).filter((name) => cache.has(name));
    const unique = withoutDuplicates(names, cache, problems);
    const version = await sha256Hex(
      JSON.stringify([
        path,
        names.map((name) => [name, cache.get(name)!.digest]),
        problems.map(({ error }) => error.message).sort(),
      ]),
    );
    if (version === previous) return null;
    return {
      version,
      files: new Map(unique.map((name) => [name, cache.get(name)!.file])),
      problems,
    };
  }

  /** A nudge whenever a file may have changed; nudges may be wrong, `read` then gives `null`. */
  watch(signal: AbortSignal): AsyncIterable<void> {
    const { path, clock, watchFs } = this.#options;
    const fingerprint = async () => {
      // Flows may refer to any file beside them.
      const found = await discover({ ...await targetOf(path), matches: () => true }).catch(
        () => [],
      );
      return found.map((one) => `${one.path}\0${signatureOf(one.stat)}`).join("\n");
    };
    return watchFolder({ path, clock, signal, fingerprint, watchFs });
  }

  async #discover(problems: SnapshotProblem[]): Promise<Found[]> {
    const { path } = this.#options;
    const target = await targetOf(path);
    try {
      const found = await discover(target);
      if (found.length === 0 && target.kind === "file") problems.push(missing(path, "file"));
      return found;
    } catch (cause) {
      if (cause instanceof Deno.errors.NotFound || cause instanceof Deno.errors.NotADirectory) {
        problems.push(missing(target.root, target.kind === "file" ? "file" : "folder"));
        return [];
      }
      throw new FlowError("source.unreadable", `Cannot list the flow files in ${target.root}`, {
        hint: "check the rights of the folder",
        cause,
      });
    }
  }

  async #load({ path, file, stat }: Found, problems: SnapshotProblem[]): Promise<Cached | null> {
    const signature = signatureOf(stat);
    const before = this.#cache.get(path);
    if (before?.signature === signature) return before;
    try {
      const bytes = await Deno.readFile(file);
      const digest = await sha256Hex(bytes);
      const same = before?.digest === digest;
      return { signature, digest, file: same ? before.file : snapshotFile(path, file, bytes) };
    } catch (cause) {
      if (cause instanceof Deno.errors.NotFound) return null; // went away while we looked
      const error = new FlowError("source.unreadable", `Cannot read ${file}`, { cause });
      problems.push({ identity: identityOfPath(path), error });
      return null;
    }
  }
}

function missing(path: string, what: string): SnapshotProblem {
  return {
    error: new FlowError("source.missing", `There is no ${what} ${path}, so there are no flows`, {
      hint: "create it, or change flows.path in config.yaml; it is noticed when it appears",
    }),
  };
}

/** Two files of one identity: neither may run, for nobody could say which one is meant. */
function withoutDuplicates(
  paths: readonly string[],
  cache: ReadonlyMap<string, Cached>,
  problems: SnapshotProblem[],
): string[] {
  const byIdentity = Map.groupBy(paths, identityOfPath);
  for (const [identity, twins] of byIdentity) {
    if (twins.length === 1) continue;
    const names = twins.map((path) => cache.get(path)!.file.file);
    for (const file of names) {
      const others = names.filter((name) => name !== file).join(", ");
      const message = `The flow "${identity}" is also defined by ${others}`;
      const error = new FlowError("flow.duplicate_identity", message, {
        hint: "rename one of the files; the extension does not count",
        position: { file, line: 1, column: 1 },
      });
      problems.push({ identity, error });
    }
  }
  return paths.filter((path) => byIdentity.get(identityOfPath(path))!.length === 1);
}

/** Two saves within one tick of the file system's clock differ in size, inode or change time. */
function signatureOf(stat: Deno.FileInfo): string {
  return [inodeOf(stat), stat.size, stat.mtime?.getTime(), stat.ctime?.getTime()].join(":");
}

/** Holds text rather than bytes: the parsed flow shares it. */
function snapshotFile(path: string, file: string, bytes: Uint8Array<ArrayBuffer>): SnapshotFile {
  const shown = file.split(sep).join("/");
  try {
    // The byte order mark stays, so that `bytes` gives back what was read.
    const text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
    return { path, file: shown, text: () => text, bytes: () => new TextEncoder().encode(text) };
  } catch {
    const text = () => {
      throw new FlowError("source.not_text", `Cannot read ${shown} as text`, {
        hint: "save it as UTF-8",
        position: { file: shown, line: 1, column: 1 },
      });
    };
    return { path, file: shown, text, bytes: () => bytes };
  }
}

/** Open files at once; more do not read faster. */
const BATCH = 64;

async function inBatches<T>(items: readonly T[], run: (item: T) => Promise<void>): Promise<void> {
  for (let at = 0; at < items.length; at += BATCH) {
    await Promise.all(items.slice(at, at + BATCH).map(run));
  }
}
