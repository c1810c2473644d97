import type { Clock, Timer } from "../core/clock.ts";
import type { FlowError } from "../core/errors.ts";
import type { Log } from "../core/log.ts";
import type { Meta } from "../flow/event.ts";

/** Least time between two records, milliseconds. */
const INTERVAL = 1_000;

/** Logs failed deliveries: the first at once, then the last of every second with a count of the others. */
export class FailureLog {
  #latest: { error: FlowError; meta: Meta } | null = null;
  #unsaid = 0;
  #quietUntil = -Infinity;
  #timer: Timer | null = null;

  constructor(readonly log: Log, readonly clock: Clock) {}

  /** @param meta Of the source's event, to find it elsewhere by its `correlation_id`. */
  add(error: FlowError, meta: Meta): void {
    this.#latest = { error, meta };
    this.#unsaid++;
    const quiet = this.#quietUntil - this.clock.monotonic();
    if (quiet <= 0) this.flush();
    else this.#timer ??= this.clock.after(quiet, () => this.flush());
  }

  /** Says what was not said yet. */
  flush(): void {
    this.#timer?.clear();
    this.#timer = null;
    if (!this.#latest) return;
    const { error: { code, message, position }, meta: { correlation_id } } = this.#latest;
    const others = this.#unsaid - 1;
    this.log.warning("A delivery failed", {
      code,
      error: message,
      ...position && { at: `${position.file}:${position.line}:${position.column}` },
      correlation_id,
      ...others > 0 && { others },
    });
    this.#latest = null;
    this.#unsaid = 0;
    this.#quietUntil = this.clock.monotonic() + INTERVAL;
  }
}
