import { type Clock, sleep } from "../core/clock.ts";
import { errorToJson, type ErrorView, FlowError, toFlowError } from "../core/errors.ts";
import type { Log } from "../core/log.ts";
import type { Random } from "../core/random.ts";
import { backoff } from "../engine/retry.ts";
import type { Source } from "../flow/source.ts";
import type { Activation, Published, Workspaces } from "../flow/workspace.ts";

export interface PollerOptions {
  /** Of the source and of the workspace it fills. */
  readonly name: string;
  readonly source: Source;
  readonly workspaces: Pick<Workspaces, "position" | "publish">;
  /** Milliseconds from one check to the next, at most. */
  readonly interval: number;
  readonly prefix?: string;
  readonly activate?: Activation;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  /** Whether this node polls the source now; the others check when they are asked to. */
  readonly polls: () => boolean;
  readonly signal: AbortSignal;
}

/** How a source is, as this node knows it. Times are RFC 3339. */
export interface SourceState {
  readonly name: string;
  /** Whether this node is the one that polls it; any node checks when it is asked to. */
  readonly polls: boolean;
  /** When it was read last without an error. */
  readonly checked: string | null;
  /** When this node asks it again by itself; `null` while it does, and where another node polls. */
  readonly next: string | null;
  /** The newest version it gave, live or not. */
  readonly version: string | null;
  /** What is wrong: with the source, or with the version. */
  readonly error?: ErrorView;
}

/** Milliseconds that one check may take. */
const DEADLINE = 10 * 60_000;
/** Milliseconds before a failed check is tried again the first time. */
const FIRST_PAUSE = 5_000;
/** Milliseconds of the longest pause, unless the interval is longer. */
const LONGEST_PAUSE = 5 * 60_000;
/** Milliseconds that a server may ask to be left alone. */
const LONGEST_ASKED = 60 * 60_000;
/** How often a read that came too late is made again at once. */
const ATTEMPTS = 3;

/** Asks one source for new versions and publishes what it gives. */
export class SourcePoller {
  readonly #options: PollerOptions;
  #checking: Promise<unknown> = Promise.resolve();
  #checked: number | null = null;
  #version: string | null = null;
  #error: FlowError | null = null;
  #finding: ErrorView | null = null;
  #failures = 0;
  /** Until when the server wants no requests, on the monotonic clock. */
  #closedUntil = -Infinity;
  /** When the pause ends, milliseconds since 1970; `null` while there is none. */
  #next: number | null = null;
  #triggered = false;
  #wake: () => void = () => {};

  constructor(options: PollerOptions) {
    this.#options = options;
  }

  /** Polls until the signal fires. */
  async run(): Promise<void> {
    const { signal } = this.#options;
    for (let pause = 0; !signal.aborted; pause = this.#nextPause()) {
      await this.#pause(pause);
      if (signal.aborted) return;
      if (!this.#triggered && !this.#options.polls()) continue;
      this.#triggered = false;
      await this.check().catch(() => {}); // it is in the state
    }
  }

  /** Checks soon, on this node, whoever polls; not before the server wants to be asked again. */
  trigger(): void {
    this.#triggered = true;
    this.#wake();
  }

  /**
   * Checks now, after a check that is under way.
   *
   * @param force Publishes and activates also what is held, or was published before.
   * @returns `null` when there is nothing new.
   * @throws {FlowError} `source.*`, `workspace.*`, `store.*`
   */
  check({ force = false }: { force?: boolean } = {}): Promise<Published | null> {
    const checked = this.#checking.then(() => this.#observed(force));
    this.#checking = checked.catch(() => {});
    return checked;
  }

  /** Resolves when no check is under way. */
  async idle(): Promise<void> {
    await this.#checking;
  }

  state(): SourceState {
    const error = this.#error ? errorToJson(this.#error) : this.#finding;
    return {
      name: this.#options.name,
      polls: this.#options.polls(),
      checked: timeText(this.#checked),
      next: this.#options.polls() ? timeText(this.#next) : null,
      version: this.#version,
      ...(error && { error }),
    };
  }

  async #observed(force: boolean): Promise<Published | null> {
    const { name, clock, log } = this.#options;
    try {
      const published = await this.#inTime(force);
      this.#checked = clock.now();
      if (this.#error) log.info("A source answers again", { source: name });
      this.#error = null;
      this.#failures = 0;
      return published;
    } catch (cause) {
      const error = toFlowError(cause, "source.failed");
      if (this.#options.signal.aborted) throw error;
      if (this.#error?.message !== error.message) {
        log.error("Cannot read a source, what it gave before runs on", {
          source: name,
          code: error.code,
          error: error.message,
          ...(error.hint && { hint: error.hint }),
        });
      }
      this.#error = error;
      this.#failures++;
      const asked = Math.min(error.retryAfter ?? 0, LONGEST_ASKED);
      this.#closedUntil = clock.monotonic() + asked;
      throw error;
    }
  }

  async #inTime(force: boolean): Promise<Published | null> {
    const { clock, signal } = this.#options;
    const late = new AbortController();
    const timer = clock.after(DEADLINE, () => late.abort(tooSlow()));
    const either = AbortSignal.any([signal, late.signal]);
    const { promise: aborted, reject } = Promise.withResolvers<never>();
    const abort = () => reject(either.reason);
    either.addEventListener("abort", abort, { once: true });
    if (either.aborted) abort();
    try {
      // A source that does not listen to the signal must not keep the others of this loop waiting.
      return await Promise.race([this.#publish(force, either), aborted]);
    } finally {
      either.removeEventListener("abort", abort);
      timer.clear();
    }
  }

  async #publish(force: boolean, signal: AbortSignal): Promise<Published | null> {
    const { name, source, workspaces, prefix = "", activate } = this.#options;
    for (let attempt = 1;; attempt++) {
      const position = await workspaces.position(name);
      const { latest, findings, published: since } = position;
      // What is stored under another prefix has other flows in it. What a flow stored, before there was
      // a source of that name, may have any files under the version that the source is at.
      const known = !force && position.prefix === prefix && position.ofSource;
      const previous = known ? latest : null;
      const snapshot = await source.read(previous, signal);
      if (!snapshot) {
        this.#version = latest;
        this.#finding = findings[0] ?? null;
        return null;
      }
      signal.throwIfAborted();
      const options = { prefix, activate, force, since, ofSource: true };
      const published = await workspaces.publish(name, snapshot, options);
      if (published.outcome === "stale" && attempt < ATTEMPTS) continue;
      this.#version = published.version;
      this.#finding = published.findings[0] ?? null;
      return published;
    }
  }

  #nextPause(): number {
    const { interval, random } = this.#options;
    // Never longer than the interval, for that is what the configuration promises.
    if (this.#failures === 0) return interval * (0.9 + 0.1 * random.next());
    const policy = {
      max_attempts: null,
      initial_backoff: Math.min(FIRST_PAUSE, interval),
      max_backoff: Math.max(LONGEST_PAUSE, interval),
    };
    return backoff(policy, this.#failures, random);
  }

  /** Waits, or until somebody triggers, but in any case as long as the server asked for. */
  async #pause(ms: number): Promise<void> {
    const { clock, signal } = this.#options;
    const end = clock.monotonic() + ms;
    while (!signal.aborted) {
      const until = Math.max(this.#triggered ? -Infinity : end, this.#closedUntil);
      const left = until - clock.monotonic();
      if (left <= 0) break;
      this.#next = clock.now() + left;
      const woken = new AbortController();
      this.#wake = () => woken.abort();
      await sleep(clock, left, AbortSignal.any([signal, woken.signal]));
    }
    this.#next = null;
  }
}

function timeText(ms: number | null): string | null {
  return ms === null ? null : new Date(ms).toISOString();
}

function tooSlow(): FlowError {
  return new FlowError("source.unavailable", "The source did not answer in time", {
    hint: "it is asked again by itself",
  });
}
