import type { Clock, Timer } from "../../core/clock.ts";
import type { Log } from "../../core/log.ts";

/** Milliseconds between two records, so that a flood of messages is no flood of records. */
const EVERY = 10_000;

/** Counts messages that were dropped and says so: the first at once, then in sums. */
export class DropLog {
  #count = 0;
  #timer: Timer | null = null;

  constructor(readonly log: Log, readonly clock: Clock) {}

  add(): void {
    this.#count++;
    if (this.#timer) return;
    this.#write();
    this.#timer = this.clock.after(EVERY, () => this.#next());
  }

  /** Writes what is left, and waits for nothing more. */
  flush(): void {
    this.#timer?.clear();
    this.#timer = null;
    if (this.#count > 0) this.#write();
  }

  #next(): void {
    this.#timer = null;
    if (this.#count === 0) return;
    this.#write();
    this.#timer = this.clock.after(EVERY, () => this.#next());
  }

  #write(): void {
    this.log.warning("Messages were dropped: they come faster than the flow can take them", {
      dropped: this.#count,
    });
    this.#count = 0;
  }
}
