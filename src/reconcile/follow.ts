import { type Clock, sleep } from "../core/clock.ts";
import { formatError, toFlowError } from "../core/errors.ts";
import type { Log } from "../core/log.ts";
import type { Random } from "../core/random.ts";
import { backoff } from "../engine/retry.ts";
import type { RetryPolicy } from "../flow/schema.ts";
import type { Source } from "../flow/source.ts";
import type { FlowLoader } from "./load_flows.ts";
import type { Reconciler } from "./reconciler.ts";

export interface FollowOptions {
  readonly source: Source;
  /** What else may change what the flows mean, such as the folder of resources. */
  readonly beside: readonly Pick<Source, "watch">[];
  readonly loader: Pick<FlowLoader, "load" | "source">;
  readonly reconciler: Pick<Reconciler, "apply">;
  readonly log: Log;
  readonly signal: AbortSignal;
  /** With these, what could not be read is read again after a while; else at the next nudge only. */
  readonly again?: { readonly clock: Clock; readonly random: Random };
}

/** Between attempts to read a source. */
const AGAIN: RetryPolicy = { max_attempts: null, initial_backoff: 1_000, max_backoff: 30_000 };

/** Brings the reconciler what a source of flow files holds, once and whenever something changes. */
export class Follower {
  /** Problems that were told, so that each is told once. */
  #told = new Set<string>();
  /** What went wrong last, so that trouble that lasts is told once. */
  #trouble = "";
  #wanted = false;
  #reloading: Promise<void> | null = null;
  /** One snapshot is loaded at a time, so that an older one cannot come last. */
  #loading: Promise<unknown> = Promise.resolve();
  /** Ends a pause between attempts. */
  #wake: () => void = () => {};

  constructor(readonly options: FollowOptions) {}

  /** @throws {FlowError} `source.unavailable`, `source.*` */
  load(): Promise<void> {
    const loaded = this.#loading.then(() => this.#load());
    this.#loading = loaded.catch(() => {});
    return loaded;
  }

  /** Loads again at every nudge until `signal` fires; nudges that come meanwhile count as one. */
  async watch(): Promise<void> {
    const { source, beside } = this.options;
    await Promise.all([source, ...beside].map((one) => this.#listen(one)));
    await this.idle();
  }

  /** Resolves when nothing is being loaded after a nudge. */
  async idle(): Promise<void> {
    await this.#reloading;
  }

  /** Loads soon, as after a nudge; what goes wrong is logged and, where asked for, tried again. */
  nudge(): void {
    this.#wanted = true;
    this.#wake();
    this.#reloading ??= this.#reload();
  }

  async #load(): Promise<void> {
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

  async #listen(one: Pick<Source, "watch">): Promise<void> {
    const { signal, again } = this.options;
    if (!one.watch) return;
    for (let failures = 1; !signal.aborted; failures++) {
      try {
        for await (const _ of one.watch(signal)) {
          this.nudge();
          failures = 1;
        }
      } catch (cause) {
        this.#tell("Cannot see changes of flows", cause);
      }
      if (!again) return;
      await sleep(again.clock, backoff(AGAIN, failures, again.random), signal);
    }
  }

  async #reload(): Promise<void> {
    const { signal } = this.options;
    let failures = 0;
    while (this.#wanted && !signal.aborted) {
      this.#wanted = false;
      try {
        await this.load();
        failures = 0;
        this.#trouble = "";
      } catch (cause) {
        this.#tell("Cannot read the flows", cause);
        if (!this.options.again) continue;
        this.#wanted = true;
        await this.#pause(++failures);
      }
    }
    this.#reloading = null;
  }

  #tell(message: string, cause: unknown): void {
    if (this.options.signal.aborted) return;
    const { code, message: error } = toFlowError(cause, "source.failed");
    const trouble = `${message}: ${code} ${error}`;
    if (trouble === this.#trouble) return;
    this.#trouble = trouble;
    this.options.log.error(message, { source: this.options.loader.source, code, error });
  }

  /** Waits before another attempt, or until a nudge. */
  async #pause(failures: number): Promise<void> {
    const { again, signal } = this.options;
    if (!again) return;
    const early = new AbortController();
    this.#wake = () => early.abort();
    const { clock, random } = again;
    const ended = AbortSignal.any([signal, early.signal]);
    await sleep(clock, backoff(AGAIN, failures, random), ended);
  }
}
