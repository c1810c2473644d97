import { dirname, resolve, sep } from "node:path";
import type { Clock, Timer } from "../core/clock.ts";
import { logFor } from "../core/log.ts";
import { inodeOf, targetOf } from "./discover.ts";

export interface FsChange {
  readonly kind: string;
  readonly paths: readonly string[];
}

/** The part of `Deno.watchFs` that is used. */
export interface Watcher extends AsyncIterable<FsChange> {
  close(): void;
}
export type WatchFs = (path: string, options: { recursive: boolean }) => Watcher;

export interface WatchOptions {
  /** Folder, file or pattern. */
  readonly path: string;
  readonly clock: Clock;
  readonly signal: AbortSignal;
  /** Text that differs when a file has changed; asked from time to time in case an event got lost. */
  readonly fingerprint: () => Promise<string>;
  readonly watchFs?: WatchFs;
}

/** An editor's save is several events; they count as one when they are this close, milliseconds. */
const QUIET = 100;
/** Someone who never stops writing is told this often. */
const LONGEST = 1_000;
/** Network and overlay file systems lose events, and a watch ends with the folder it was set on. */
const POLL = 5_000;

/**
 * Yields when something below `path` may have changed; several changes are one nudge. The first comes
 * as soon as the watch is set, for what changed before.
 */
export async function* watchFolder(options: WatchOptions): AsyncGenerator<void> {
  const { signal } = options;
  if (signal.aborted) return;
  const nudges = new Nudges(options);
  const stop = () => nudges.stop();
  signal.addEventListener("abort", stop, { once: true });
  try {
    await nudges.start();
    while (await nudges.next()) yield;
  } finally {
    signal.removeEventListener("abort", stop);
    await nudges.close();
  }
}

class Nudges {
  readonly #options: WatchOptions;
  readonly #watchFs: WatchFs;
  #watcher: Watcher | undefined;
  #reading: Promise<void> = Promise.resolve();
  #polling: Promise<void> = Promise.resolve();
  /** Which folder the watch is set on, by name and inode. */
  #watched = "";
  #fingerprint = "";
  #quiet: Timer | undefined;
  #poll: Timer | undefined;
  #since: number | undefined;
  #due = false;
  #stopped = false;
  #wake: () => void = () => {};

  constructor(options: WatchOptions) {
    this.#options = options;
    this.#watchFs = options.watchFs ?? ((path, { recursive }) => Deno.watchFs(path, { recursive }));
  }

  async start(): Promise<void> {
    await this.#open();
    this.#fingerprint = await this.#options.fingerprint().catch(() => "");
    this.#due = true;
    if (!this.#stopped) this.#schedulePoll();
  }

  /** Waits for the next nudge; `false` when it is over. */
  async next(): Promise<boolean> {
    while (!this.#due && !this.#stopped) {
      await new Promise<void>((resolve) => this.#wake = resolve);
    }
    this.#due = false;
    return !this.#stopped;
  }

  stop(): void {
    this.#stopped = true;
    this.#quiet?.clear();
    this.#poll?.clear();
    this.#closeWatcher();
    this.#wake();
  }

  async close(): Promise<void> {
    this.stop();
    await this.#polling;
    await this.#reading;
  }

  /**
   * Sets the watch on the root, or on the nearest folder above that exists; `true` when it moved
   * there from another folder.
   */
  async #open(): Promise<boolean> {
    const target = await targetOf(this.#options.path);
    let folder = target.root;
    let stat = await Deno.stat(folder).catch(() => undefined);
    while (!stat?.isDirectory && dirname(folder) !== folder) {
      folder = dirname(folder);
      stat = await Deno.stat(folder).catch(() => undefined);
    }
    const watched = stat ? `${folder}\0${inodeOf(stat)}` : "";
    if (this.#stopped || watched === this.#watched) return false;
    this.#watched = watched;
    this.#closeWatcher();
    if (!stat) return true;
    const recursive = folder === target.root && target.kind !== "file";
    try {
      const watcher = this.#watchFs(folder, { recursive });
      this.#watcher = watcher;
      this.#reading = Promise.all([this.#reading, this.#read(watcher, hiddenBelow(folder))])
        .then(() => {});
    } catch (cause) {
      // Too many watches, usually. Looking every few seconds still notices everything.
      logFor("source").warning("cannot watch a folder, looking at it from time to time instead", {
        folder,
        cause,
      });
    }
    return true;
  }

  async #read(watcher: Watcher, isHidden: (path: string) => boolean): Promise<void> {
    try {
      for await (const { kind, paths } of watcher) {
        // Our own reading is an event too.
        if (kind !== "access" && !paths.every(isHidden)) this.#changed();
      }
    } catch (cause) {
      logFor("source").warning("a folder's watch has ended", { cause });
    }
    if (this.#watcher === watcher) this.#watched = "";
  }

  #changed(): void {
    if (this.#stopped) return;
    const { clock } = this.#options;
    const now = clock.monotonic();
    this.#since ??= now;
    this.#quiet?.clear();
    const wait = Math.max(0, Math.min(QUIET, this.#since + LONGEST - now));
    this.#quiet = clock.after(wait, () => this.#nudge());
  }

  #nudge(): void {
    this.#quiet?.clear();
    this.#quiet = undefined;
    this.#since = undefined;
    this.#due = true;
    this.#wake();
    // The folder may just have been made, or be another one of the same name.
    this.#polling = this.#polling.then(async () => {
      // What was written there before the watch was set has made no event.
      if (await this.#open()) this.#changed();
    }).catch(() => {});
  }

  #schedulePoll(): void {
    this.#poll = this.#options.clock.after(POLL, () => {
      this.#polling = this.#polling.then(() => this.#look()).catch(() => {}).then(() => {
        if (!this.#stopped) this.#schedulePoll();
      });
    });
  }

  async #look(): Promise<void> {
    const moved = await this.#open();
    const fingerprint = await this.#options.fingerprint();
    const changed = fingerprint !== this.#fingerprint || moved;
    this.#fingerprint = fingerprint;
    if (changed && !this.#stopped) this.#nudge();
  }

  #closeWatcher(): void {
    const watcher = this.#watcher;
    this.#watcher = undefined;
    try {
      watcher?.close();
    } catch {
      // It has ended on its own.
    }
  }
}

/**
 * Files in folders such as `.git` or `.flowgen` are no flows, and change often. Kubernetes swaps a
 * mount by renaming the link `..data`.
 */
function hiddenBelow(folder: string): (path: string) => boolean {
  const root = resolve(folder);
  return (path) => {
    if (!path.startsWith(root)) return false;
    const parts = path.slice(root.length).split(sep);
    return parts.some((part) => part.startsWith(".") && part !== "..data");
  };
}
