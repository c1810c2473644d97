import { formatError, textOf } from "../core/errors.ts";
import type { Log } from "../core/log.ts";
import type { Source } from "../flow/source.ts";
import type { FlowLoader } from "./load_flows.ts";
import type { Reconciler } from "./reconciler.ts";

export interface FollowOptions {
  readonly source: Source;
  /** What else may change what the flows mean, such as the folder of resources. */
  readonly beside: readonly Source[];
  readonly loader: FlowLoader;
  readonly reconciler: Reconciler;
  readonly log: Log;
  readonly signal: AbortSignal;
}

/** Brings the reconciler what a source of flow files holds, once and whenever something changes. */
export class Follower {
  /** Problems that were told, so that each is told once. */
  #told = new Set<string>();

  constructor(readonly options: FollowOptions) {}

  /** @throws {FlowError} `source.unavailable`, `source.*` */
  async load(): Promise<void> {
    const { source, loader, reconciler, log, signal } = this.options;
    // Asked for everything: with unchanged flow files, what they refer to may have changed.
    const snapshot = await source.read(null, signal);
    if (!snapshot || signal.aborted) return;
    const problems = snapshot.problems.flatMap((one) =>
      one.identity ? [] : [formatError(one.error)]
    );
    for (const problem of problems) if (!this.#told.has(problem)) log.warning(problem);
    this.#told = new Set(problems);
    await reconciler.apply(await loader.load(snapshot));
  }

  /** Loads again at every nudge until `signal` fires; nudges that come meanwhile count as one. */
  async watch(): Promise<void> {
    const { source, beside, log, signal } = this.options;
    let wanted = false;
    let loading: Promise<void> | null = null;
    const reload = async () => {
      while (wanted && !signal.aborted) {
        wanted = false;
        await this.load().catch((cause) => {
          if (!signal.aborted) log.error("Cannot read the flows", { error: textOf(cause) });
        });
      }
      loading = null;
    };
    const listen = async (one: Source) => {
      for await (const _ of one.watch?.(signal) ?? []) {
        wanted = true;
        loading ??= reload();
      }
    };
    await Promise.all([source, ...beside].map(listen));
    await loading;
  }
}
