import { type Clock, sleep } from "../core/clock.ts";

/**
 * Milliseconds for which everything else waits, before and while an event that may have ended a
 * process runs alone. A task that collects events may end none before it gets more.
 */
export const LONGEST_ALONE = 30_000;

/** Counts what was begun and has not ended, and tells when nothing is left of it. */
export class UnderWay {
  #count = 0;
  #quiet = Promise.withResolvers<void>();

  begin(): void {
    this.#count++;
  }

  end(): void {
    if (--this.#count === 0) this.letGo();
  }

  /** Nobody waits any longer, whatever is under way. */
  letGo(): void {
    this.#quiet.resolve();
  }

  /** Resolves when nothing is under way, after `limit` milliseconds, or when the signal fires. */
  async quiet(limit: number, clock: Clock, signal: AbortSignal): Promise<void> {
    if (this.#count === 0 || signal.aborted) return;
    this.#quiet = Promise.withResolvers();
    const quiet = new AbortController();
    const either = AbortSignal.any([quiet.signal, signal]);
    await Promise.race([this.#quiet.promise, sleep(clock, limit, either)]);
    quiet.abort();
  }
}
