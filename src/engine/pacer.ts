import { type Clock, turn } from "../core/clock.ts";

/** Longest time in milliseconds the event loop goes without a turn. */
const SLICE = 5;
/** Asking the clock costs more than an event may, so it is asked once in up to so many. */
const MOST = 64;

/** Reminds a busy loop to let others in. */
export class Pacer {
  /** Events until the clock is asked again. */
  #left = 1;
  #stride = 1;
  #asked: number;
  #last: number;
  #turn: Promise<void> | undefined;

  constructor(readonly clock: Clock) {
    this.#asked = this.#last = clock.monotonic();
  }

  /** A promise to await when the loop has run long enough, else `undefined`. */
  pause(): Promise<void> | undefined {
    return --this.#left > 0 ? undefined : this.#ask();
  }

  #ask(): Promise<void> | undefined {
    // Also who asks while others wait for a turn has to wait for it.
    this.#left = 1;
    if (this.#turn) return this.#turn;
    const now = this.clock.monotonic();
    // A quarter of the slice may pass unseen, going by what events cost of late.
    const fitting = Math.floor(this.#stride * SLICE / 4 / (now - this.#asked));
    this.#asked = now;
    this.#left = this.#stride = Math.max(1, Math.min(fitting, 2 * this.#stride, MOST));
    if (now - this.#last < SLICE) return undefined;
    this.#left = 1;
    return this.#turn = turn().then(() => {
      this.#turn = undefined;
      this.#left = this.#stride;
      this.#asked = this.#last = this.clock.monotonic();
    });
  }
}
