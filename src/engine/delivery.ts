import { InternalError } from "../core/errors.ts";
import type { FlowEvent, Meta } from "../flow/event.ts";
import { DONE, type Outcome } from "../flow/task.ts";
import type { Path, ReplyCollector } from "./reply.ts";

/** Who opened a delivery: a source, a batch, or a task that follows one event. */
export interface Origin {
  /** The last copy has ended. */
  ended(delivery: Delivery): void;
  /** Everything that is open waits in buffers, or no longer does. */
  waiting(delivery: Delivery, waiting: boolean): void;
  /** A defect, for the log. */
  broken(cause: unknown): void;
}

const ROOT: Path = [];

/** One event on its way. A delivery is the first copy of itself, so that most need no second object. */
export interface Copy {
  readonly delivery: Delivery;
  readonly path: Path;
  /** What the sync task got that is at work on it; `null` between tasks. */
  event: FlowEvent | null;
}

/** Follows every copy of one source event, then tells its origin exactly once. */
export class Delivery implements Copy {
  /** Copies under way. */
  open = 1;
  /** Those of them that wait in buffers. */
  buffered = 0;
  outcome: Outcome = DONE;
  /** Gave up waiting: nothing more starts for it, and its copies end where they are. */
  expired = false;
  /** Set where someone waits for an answer. */
  reply: ReplyCollector | null = null;
  /** Told once how it ended, by the source that opened it. */
  settled: ((outcome: Outcome) => void) | null = null;
  /** Of the source's event, for the log. */
  meta: Meta | null = null;
  /** Bytes counted against the source's window. */
  bytes = 0;
  /** Instant on the monotonic clock at which it expires; 0 where it does not. */
  deadline = 0;
  event: FlowEvent | null = null;
  /** Neighbours in the source's list of open deliveries. */
  before: Delivery | null = null;
  after: Delivery | null = null;

  /** Batches and followed events that came out of this delivery, asked when it expires. */
  #nested: Set<NestedOrigin> | null = null;
  #controller: AbortController | null = null;
  #isWaiting = false;

  /**
   * @param order Deliveries with the same key keep their order in async stages.
   * @param root The delivery whose own order this one is part of, where that is another.
   */
  constructor(readonly origin: Origin, order?: object, root?: Delivery) {
    this.order = order ?? this;
    this.root = root ?? this;
  }
  readonly order: object;
  readonly root: Delivery;

  get delivery(): this {
    return this;
  }

  get path(): Path {
    return ROOT;
  }

  /** One more copy is under way, for instance waiting for an async task. */
  hold(): void {
    this.open++;
    if (this.#isWaiting) this.#setWaiting(false);
  }

  /** The first failure is the delivery's. */
  fail(cause: unknown): void {
    if (this.outcome.ok) this.outcome = { ok: false, cause };
  }

  /** One copy reached its end. */
  settle(): void {
    if (this.open === 0) {
      this.origin.broken(new InternalError("delivery.settled_twice"));
      return;
    }
    this.open--;
    if (this.open === 0) this.origin.ended(this);
    else if (this.buffered > 0) this.#checkWaiting();
  }

  /** One of its copies went into a buffer (+1) or left it (-1). */
  buffer(change: 1 | -1): void {
    this.buffered += change;
    this.#checkWaiting();
  }

  get signal(): AbortSignal {
    return (this.#controller ??= new AbortController()).signal;
  }

  expire(cause: unknown): void {
    if (this.expired) return;
    this.expired = true;
    this.fail(cause);
    // A task that asks for its signal only now shall find the cause there too.
    (this.#controller ??= new AbortController()).abort(cause);
    if (this.#nested) { for (const one of this.#nested) one.parentExpired(); }
  }

  nest(child: NestedOrigin): void {
    (this.#nested ??= new Set()).add(child);
  }

  unnest(child: NestedOrigin): void {
    this.#nested?.delete(child);
  }

  /** This delivery and all that came out of it. */
  *family(): Generator<Delivery> {
    yield this;
    if (this.#nested) { for (const one of this.#nested) yield* one.delivery.family(); }
  }

  #checkWaiting(): void {
    const waiting = this.open > 0 && this.buffered === this.open;
    if (waiting !== this.#isWaiting) this.#setWaiting(waiting);
  }

  #setWaiting(waiting: boolean): void {
    this.#isWaiting = waiting;
    this.origin.waiting(this, waiting);
  }
}

/**
 * A delivery inside other deliveries: a batch of several, or one event that a task follows. Its fate is
 * that of every member, and it expires when all of them have.
 */
export class NestedOrigin implements Origin {
  readonly delivery: Delivery;

  constructor(
    readonly members: readonly Copy[],
    order: object,
    readonly expireInside: (delivery: Delivery) => void,
    root?: Delivery,
    readonly settled: ((outcome: Outcome) => void) | null = null,
  ) {
    this.delivery = new Delivery(this, order, root);
    for (const { delivery } of members) delivery.nest(this);
  }

  ended({ outcome }: Delivery): void {
    if (this.settled) tell(this, this.settled, outcome);
    for (const { delivery } of this.members) {
      delivery.unnest(this);
      if (!outcome.ok) delivery.fail(outcome.cause);
      delivery.settle();
    }
  }

  waiting(_: Delivery, waiting: boolean): void {
    for (const { delivery } of this.members) delivery.buffer(waiting ? 1 : -1);
  }

  broken(cause: unknown): void {
    this.members[0]?.delivery.origin.broken(cause);
  }

  parentExpired(): void {
    const last = this.members.findLast(({ delivery }) => !delivery.outcome.ok);
    if (!this.members.every(({ delivery }) => delivery.expired) || this.delivery.expired) return;
    const outcome = last?.delivery.outcome;
    this.delivery.expire(outcome && !outcome.ok ? outcome.cause : undefined);
    this.expireInside(this.delivery);
  }
}

/** Calls back into a task. What that throws is a defect of the task; the accounts go on. */
export function tell(
  origin: Pick<Origin, "broken">,
  settled: (outcome: Outcome) => void,
  outcome: Outcome,
): void {
  try {
    settled(outcome);
  } catch (cause) {
    origin.broken(cause);
  }
}
