import { type Clock, sleep } from "../core/clock.ts";

/** Those who wait until a flow's claim is released. */
export class Withdrawals {
  readonly #waiting = new Map<string, Set<AbortController>>();

  constructor(readonly clock: Clock) {}

  /** Resolves when `ended` is called for the flow, or after `longest` milliseconds. */
  async wait(flow: string, longest: number): Promise<void> {
    const patience = new AbortController();
    const waiting = this.#waiting.get(flow) ?? new Set();
    this.#waiting.set(flow, waiting.add(patience));
    await sleep(this.clock, longest, patience.signal);
    waiting.delete(patience);
    if (waiting.size === 0) this.#waiting.delete(flow);
  }

  has(flow: string): boolean {
    return this.#waiting.has(flow);
  }

  ended(flow: string): void {
    for (const patience of this.#waiting.get(flow) ?? []) patience.abort();
  }
}
