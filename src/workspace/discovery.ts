import { type Clock, sleep } from "../core/clock.ts";
import { textOf } from "../core/errors.ts";
import type { Log } from "../core/log.ts";
import type { Entry, Store } from "../flow/store.ts";
import { isRemoved, isWorkspaceName, type Manifest, readManifest, WORKSPACES } from "./manifest.ts";
import { coalesced } from "./nudges.ts";

export interface DiscoveryOptions {
  /** The system store. */
  readonly store: Store;
  readonly clock: Clock;
  readonly log: Log;
  readonly signal: AbortSignal;
  /** Those that are known already, such as the names in `sources:`. */
  readonly known: Iterable<string>;
  /** A workspace that a flow published; each is told once. */
  readonly found: (name: string) => void;
}

/** Milliseconds before a watch that failed is opened again. */
const AGAIN = 5_000;

/** `null` for one that cannot be read: its own reader says what is wrong with it. */
function manifestOf(entry: Entry): Manifest | null {
  try {
    return readManifest(entry);
  } catch {
    return null;
  }
}

/** Finds workspaces that no configuration names. */
export class Discovery {
  readonly #known: Set<string>;
  /** Told once each. */
  readonly #left = new Set<string>();

  constructor(readonly options: DiscoveryOptions) {
    this.#known = new Set(options.known);
  }

  /** Looks once, in the order of names. */
  async look(): Promise<void> {
    for await (const entry of this.options.store.list([WORKSPACES])) {
      const { key } = entry;
      const [, name] = key;
      // What no workspace can be called, some other program wrote; a node starts all the same.
      if (name === undefined || key.length > 2 || !isWorkspaceName(name)) continue;
      if (this.#known.has(name)) continue;
      const manifest = manifestOf(entry);
      if (manifest && isRemoved(manifest)) continue;
      // What is newest in it came from one of `sources:`.
      if (manifest?.versions[0]?.of_source) this.#leave(name);
      else {
        this.#known.add(name);
        this.options.found(name);
      }
    }
  }

  /** Whoever takes a source out of the configuration wants its flows to end. */
  #leave(name: string): void {
    if (this.#left.has(name)) return;
    this.#left.add(name);
    this.options.log.warning("A workspace is of no source of this configuration and left alone", {
      workspace: name,
    });
  }

  /** Looks again whenever something was published, until the signal fires. */
  async watch(): Promise<void> {
    const { store, signal, clock, log } = this.options;
    while (!signal.aborted) {
      try {
        for await (const _ of coalesced(store.watch([WORKSPACES], signal), { clock, signal })) {
          await this.look();
        }
      } catch (cause) {
        log.warning("Cannot look for workspaces", { error: textOf(cause) });
      }
      await sleep(clock, AGAIN, signal);
    }
  }
}
