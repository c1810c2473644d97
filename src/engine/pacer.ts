import { type Clock, turn } from "../core/clock.ts";

/** Longest time in milliseconds the event loop goes without a turn. */
const SLICE = 5;
/** Asking the clock costs more than an event, so it is asked once in so many. */
const STRIDE = 64;

/** Reminds a busy loop to let others in. */
export class Pacer {
  #count = 0;
  #last: number;

  constructor(readonly clock: Clock) {
    this.#last = clock.monotonic();
  }

  /** A promise to await when the loop has run long enough, else `undefined`. */
  pause(): Promise<void> | undefined {
    if (++this.#count < STRIDE) return undefined;
    this.#count = 0;
    const now = this.clock.monotonic();
    if (now - this.#last < SLICE) return undefined;
    return turn().then(() => void (this.#last = this.clock.monotonic()));
  }
}
