import type { Clock, Timer } from "../core/clock.ts";
import type { FlowError } from "../core/errors.ts";
import type { Log } from "../core/log.ts";
import type { Meta } from "../flow/event.ts";

/** Least time between two records of one code, milliseconds. */
const INTERVAL = 1_000;

interface Failure {
  readonly error: FlowError;
  readonly meta: Meta;
}

/** What is known of one code. */
interface Kind {
  /** Before then it is not told again. */
  until: number;
  /** The last that was not told. */
  latest: Failure | null;
  count: number;
}

/** Logs failed deliveries: of each code the first at once, then the last of a second and how many more. */
export class FailureLog {
  readonly #kinds = new Map<string, Kind>();
  #timer: Timer | null = null;

  constructor(readonly log: Log, readonly clock: Clock) {}

  /** @param meta Of the source's event, to find it elsewhere by its `correlation_id`. */
  add(error: FlowError, meta: Meta): void {
    const now = this.clock.monotonic();
    let kind = this.#kinds.get(error.code);
    if (!kind) this.#kinds.set(error.code, kind = { until: now, latest: null, count: 0 });
    kind.latest = { error, meta };
    kind.count++;
    if (now >= kind.until) this.#tell(kind);
    else this.#timer ??= this.clock.after(kind.until - now, () => this.flush());
  }

  /** Says what was not said yet. */
  flush(): void {
    this.#timer?.clear();
    this.#timer = null;
    for (const kind of this.#kinds.values()) this.#tell(kind);
  }

  #tell(kind: Kind): void {
    if (!kind.latest) return;
    const { error: { code, message, position }, meta: { correlation_id } } = kind.latest;
    const others = kind.count - 1;
    kind.latest = null;
    kind.count = 0;
    kind.until = this.clock.monotonic() + INTERVAL;
    this.log.warning("A delivery failed", {
      code,
      error: message,
      ...position && { at: `${position.file}:${position.line}:${position.column}` },
      correlation_id,
      ...others > 0 && { others },
    });
  }
}
