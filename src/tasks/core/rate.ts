/**
 * Token buckets by key, each holding `limit` tokens that come back evenly over `interval`
 * milliseconds. A bucket is one number: the time at which it will be full again (the "generic cell
 * rate algorithm", ITU-T I.371). Full buckets need not be kept.
 */
export class Rates {
  readonly #fullAt = new Map<string, number>();

  constructor(readonly limit: number, readonly interval: number) {}

  /** Buckets in memory. */
  get size(): number {
    return this.#fullAt.size;
  }

  /** Milliseconds until a token is there; 0: now. */
  wait(key: string, now: number): number {
    const fullAt = Math.max(this.#fullAt.get(key) ?? now, now);
    const wait = fullAt + this.interval / this.limit - this.interval - now;
    // Sums of fractions: a millionth of a millisecond is no reason to wait.
    return wait < 1e-6 ? 0 : wait;
  }

  /** Takes a token, one of the future if none is there. */
  take(key: string, now: number): void {
    this.#move(key, Math.max(this.#fullAt.get(key) ?? now, now) + this.interval / this.limit, now);
  }

  /** Gives a token back that was not used. */
  giveBack(key: string, now: number): void {
    const fullAt = this.#fullAt.get(key);
    if (fullAt !== undefined) this.#move(key, fullAt - this.interval / this.limit, now);
  }

  /** Forgets buckets that are full. */
  sweep(now: number): void {
    for (const [key, fullAt] of this.#fullAt) if (fullAt <= now) this.#fullAt.delete(key);
  }

  #move(key: string, fullAt: number, now: number): void {
    if (fullAt > now) this.#fullAt.set(key, fullAt);
    else this.#fullAt.delete(key);
  }
}
