import { type Clock, sleep } from "../../core/clock.ts";
import { logFor } from "../../core/log.ts";
import { Nudges } from "../nudges.ts";
import { Blobs } from "./blobs.ts";
import { Commits } from "./commits.ts";
import { CHANGED } from "./keys.ts";

/** Pause before a watch that ended is opened again. */
const REOPEN_AFTER = 1_000;

const places = new WeakMap<Deno.Kv, Place>();

export interface PlaceOptions {
  readonly kv: Deno.Kv;
  readonly clock: Clock;
  readonly hosted: boolean;
}

/**
 * What all stores over one `Deno.Kv` share: watchers hear of each other's changes, writes are grouped
 * across stores, and the last one to leave closes it.
 */
export class Place {
  readonly kv: Deno.Kv;
  readonly nudges = new Nudges();
  readonly blobs: Blobs;
  readonly commits: Commits;
  readonly #clock: Clock;
  readonly #hosted: boolean;
  readonly #closed = new AbortController();
  readonly #background: Promise<void>[] = [];
  #stores = 0;

  private constructor({ kv, clock, hosted }: PlaceOptions) {
    this.kv = kv;
    this.#clock = clock;
    this.#hosted = hosted;
    this.blobs = new Blobs({ kv, clock, hosted });
    this.commits = new Commits(() => this.atomic());
    this.#background.push(this.#sweep());
    if (hosted) this.#background.push(this.#hear());
  }

  /** The place of this `Deno.Kv`; the first store over it says what it is like. */
  static enter(options: PlaceOptions): Place {
    const place = places.get(options.kv) ?? new Place(options);
    places.set(options.kv, place);
    place.#stores++;
    return place;
  }

  async leave(): Promise<void> {
    if (--this.#stores > 0) return;
    places.delete(this.kv);
    this.#closed.abort();
    await Promise.all(this.#background);
    this.kv.close();
  }

  /** A commit that other processes will hear of. */
  atomic(): Deno.AtomicOperation {
    const commit = this.kv.atomic();
    return this.#hosted ? commit.set(CHANGED, true) : commit;
  }

  async #sweep(): Promise<void> {
    try {
      await this.blobs.sweep(this.#closed.signal);
    } catch (cause) {
      logFor("store").warning("Cannot look for values left behind by a crash", { cause });
    }
  }

  /** Passes on that another process changed something. Deno KV does not say what. */
  async #hear(): Promise<void> {
    const { signal } = this.#closed;
    while (!signal.aborted) {
      try {
        await this.#hearOnce(signal);
      } catch (cause) {
        logFor("store").warning("Lost the watch of a hosted store; opening it again", { cause });
      }
      await sleep(this.#clock, REOPEN_AFTER, signal);
    }
  }

  async #hearOnce(signal: AbortSignal): Promise<void> {
    const changes = this.kv.watch([CHANGED]).getReader();
    const cancel = () => void changes.cancel();
    signal.addEventListener("abort", cancel, { once: true });
    try {
      while (!(await changes.read()).done) this.nudges.tell(null);
    } finally {
      signal.removeEventListener("abort", cancel);
    }
  }
}
