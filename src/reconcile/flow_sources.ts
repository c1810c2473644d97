import { type Clock, sleep } from "../core/clock.ts";
import { toFlowError } from "../core/errors.ts";
import type { Log } from "../core/log.ts";
import type { Random } from "../core/random.ts";
import type { Source } from "../flow/source.ts";
import type { Wanted } from "./desired.ts";
import { Follower } from "./follow.ts";
import type { FlowLoader } from "./load_flows.ts";
import { mergeWanted, type Shadowed, shadowedError, shadowedStatus } from "./precedence.ts";
import type { Reconciler } from "./reconciler.ts";
import type { FlowStatus } from "./status.ts";

/** Where flows come from, in the order of precedence; workspaces of one rank go by name. */
export const RANK = {
  files: 0,
  /** Workspaces of `sources:` count on from here. */
  configured: 1,
  /** Workspaces that a flow publishes. */
  published: 1_000_000,
  /** Flows written one by one into the store. */
  keys: 2_000_000,
} as const;

/** One source of flows. */
export interface FlowPart {
  /** See `RANK`; the lower counts where two have a flow of one identity. */
  readonly rank: number;
  readonly source: Source;
  /** What else may change what the flows mean, such as the folder of resources. */
  readonly beside: readonly Pick<Source, "watch">[];
  readonly loader: Pick<FlowLoader, "load" | "source">;
  /** Whether changes are noticed; `true` when left out. */
  readonly watch?: boolean;
}

export interface FlowSourcesOptions {
  readonly reconciler: Pick<Reconciler, "apply">;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  readonly signal: AbortSignal;
}

/** Milliseconds that the first set of flows waits for sources that are slow to answer. */
const PATIENCE = 2_000;

interface Part extends FlowPart {
  readonly follower: Follower;
  /** What it wanted last; `null` before it was read. */
  wanted: readonly Wanted[] | null;
}

/**
 * Flows from several sources, each followed by itself: one in trouble keeps what it gave last and
 * holds up nobody. Which flow counts where two have one identity is decided over all of them.
 */
export class FlowSources {
  readonly #options: FlowSourcesOptions;
  #parts: Part[] = [];
  #watching: Promise<unknown>[] = [];
  #isWatching = false;
  /** Parts wait until the first set is applied as one. */
  #collecting = true;
  /** By source and identity: the loser, and since when. */
  #shadowed = new Map<string, { shadowed: Shadowed; since: number }>();

  constructor(options: FlowSourcesOptions) {
    this.#options = options;
  }

  /** One more source; also while it runs, then its flows follow at once. */
  add(part: FlowPart): void {
    const { clock, random, log, signal } = this.#options;
    const follower = new Follower({
      source: part.source,
      beside: part.beside,
      loader: part.loader,
      reconciler: {
        apply: (wanted) => {
          added.wanted = wanted;
          return this.#apply();
        },
      },
      log,
      signal,
      again: { clock, random },
    });
    const added: Part = { ...part, follower, wanted: null };
    this.#parts = [...this.#parts, added].sort((a, b) =>
      a.rank - b.rank || (a.loader.source < b.loader.source ? -1 : 1)
    );
    if (!this.#collecting) follower.nudge();
    if (this.#isWatching) this.#follow(added);
  }

  /**
   * Reads all sources and applies what they hold as one set. A source that fails is logged and read
   * again later, and so is one that takes long, without holding up the others.
   *
   * @throws {FlowError} the first failure, when no source could be read.
   */
  async load(): Promise<void> {
    const { clock, signal } = this.#options;
    const failures = new Map<Part, unknown>();
    const parts = this.#parts;
    const over = new AbortController();
    const loaded = Promise.all(parts.map((part) =>
      part.follower.load().catch((cause) => {
        if (this.#collecting) failures.set(part, cause);
        else this.#failed(part, cause);
      })
    ));
    await Promise.race([loaded, sleep(clock, PATIENCE, AbortSignal.any([signal, over.signal]))]);
    over.abort();
    this.#collecting = false;
    if (parts.length > 0 && failures.size === parts.length) {
      throw toFlowError(failures.get(parts[0]!), "source.failed");
    }
    for (const [part, cause] of failures) this.#failed(part, cause);
    await this.#apply();
  }

  /**
   * Reads one source again and applies what it holds now; nothing when there is none of this name.
   *
   * @param source As its loader calls it, such as `workspace:demo`.
   * @throws {FlowError} `source.*`, `workspace.*`, `store.*`
   */
  async refresh(source: string): Promise<void> {
    await this.#parts.find(({ loader }) => loader.source === source)?.follower.load();
  }

  /** Follows changes until the signal fires; resolves when nothing is under way any more. */
  async watch(): Promise<void> {
    const { signal } = this.#options;
    this.#isWatching = true;
    for (const part of this.#parts) this.#follow(part);
    if (!signal.aborted) {
      await new Promise((resolve) => signal.addEventListener("abort", resolve, { once: true }));
    }
    await Promise.all(this.#watching);
    await Promise.all(this.#parts.map(({ follower }) => follower.idle()));
  }

  /** Flows that do not run because a source before theirs has one of the same identity. */
  shadowed(): FlowStatus[] {
    return [...this.#shadowed.values()].map(({ shadowed, since }) =>
      shadowedStatus(shadowed, since)
    );
  }

  #failed({ loader: { source }, follower }: Part, cause: unknown): void {
    if (this.#options.signal.aborted) return;
    const { code, message: error } = toFlowError(cause, "source.failed");
    this.#options.log.error("Cannot read the flows", { source, code, error });
    follower.nudge();
  }

  #follow({ watch, follower }: Part): void {
    if (watch !== false) this.#watching.push(follower.watch());
  }

  async #apply(): Promise<void> {
    if (this.#collecting) return;
    const { wanted, shadowed } = mergeWanted(this.#parts.map((part) => part.wanted ?? []));
    this.#tell(shadowed);
    await this.#options.reconciler.apply(wanted);
  }

  #tell(shadowed: readonly Shadowed[]): void {
    const before = this.#shadowed;
    this.#shadowed = new Map(shadowed.map((one) => {
      const { source, identity } = one.wanted;
      const id = JSON.stringify([source, identity, one.winner]);
      const since = before.get(id)?.since ?? this.#options.clock.now();
      return [id, { shadowed: one, since }];
    }));
    for (const [id, { shadowed }] of this.#shadowed) {
      if (!before.has(id)) this.#options.log.warning(shadowedError(shadowed).message);
    }
  }
}
