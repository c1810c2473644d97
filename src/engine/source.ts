import { formatDuration } from "../core/duration.ts";
import { FlowError } from "../core/errors.ts";
import type { Timer } from "../core/clock.ts";
import type { FlowEvent, Meta } from "../flow/event.ts";
import type { EmitOptions, Outcome, Reply, SourceOutput } from "../flow/task.ts";
import { Delivery, type Origin, tell } from "./delivery.ts";
import { ackTimeoutOf, type Node, replyPath } from "./graph.ts";
import type { Pacer } from "./pacer.ts";
import type { Pipeline } from "./pipeline.ts";
import type { Port } from "./port.ts";
import { ReplyCollector, type ReplyPlan } from "./reply.ts";
import { Waiters } from "./room.ts";
import { notOurs } from "./tenure.ts";

const DEFAULT_WINDOW = 1_024;
const DEFAULT_WINDOW_BYTES = 64 * 1024 * 1024;

type Settled = (outcome: Outcome) => void;

/** Heard of when a delivery failed, once each. */
export type OnFailure = (cause: unknown, meta: Meta) => void;

/** Heard of when a source says that it is in trouble, and with `null` when it is well again. */
export type OnTrouble = (cause: FlowError | null) => void;

/** A source's window and its open deliveries. */
export class Intake implements SourceOutput, Origin {
  readonly window: number;
  readonly windowBytes: number;
  readonly #timeout: number | undefined;
  readonly #replyPlan: ReplyPlan;
  readonly #ordered: boolean;
  readonly #out: Port;
  readonly #count: { events: number };
  readonly #pacer: Pacer;
  readonly #room = new Waiters();
  readonly #idle = new Waiters();
  #open = 0;
  #bytes = 0;
  /** Deliveries of which everything waits in buffers. */
  #waiting = 0;
  /** Open deliveries, oldest first, so that the first is also the next to expire. */
  #first: Delivery | null = null;
  #last: Delivery | null = null;
  #timer: Timer | null = null;
  #closed = false;

  constructor(
    readonly pipeline: Pipeline,
    readonly node: Node,
    readonly signal: AbortSignal,
    readonly onFailure: OnFailure,
    readonly onTrouble: OnTrouble = () => {},
  ) {
    const { task } = node;
    const definition = task.definition;
    if (definition.mode !== "source") throw new TypeError("not a source");
    this.window = task.maxInFlight ?? definition.window ?? DEFAULT_WINDOW;
    this.windowBytes = task.maxInFlightBytes ?? DEFAULT_WINDOW_BYTES;
    this.#timeout = ackTimeoutOf(node);
    this.#ordered = definition.ordered === true;
    this.#out = pipeline.out(node);
    this.#pacer = pipeline.pacer;
    this.#count = pipeline.counts[node.index]!;
    this.#replyPlan = { ...replyPath(node), shape: task.reply };
  }

  get open(): number {
    return this.#open;
  }

  emit(event: FlowEvent, settled: Settled, options?: EmitOptions): void | Promise<void> {
    return this.#emit(event, settled, options?.bytes ?? bytesOf(event), null);
  }

  fail(
    event: FlowEvent,
    cause: unknown,
    settled: Settled,
    options?: EmitOptions,
  ): void | Promise<void> {
    const way = this.pipeline.failing(this.node, cause);
    return this.#emit(event, settled, options?.bytes ?? bytesOf(event), null, way);
  }

  trouble(cause: FlowError | null): void {
    this.onTrouble(cause);
  }

  async deliver(event: FlowEvent, options?: EmitOptions): Promise<Outcome> {
    // The slot of a delivery that expired stays taken until its last copy has ended.
    while (this.#isFull(0) && !this.#closed) await this.#room.wait();
    const outcome = await new Promise<Outcome>((resolve) =>
      void this.emit(event, resolve, options)
    );
    await this.#pacer.pause();
    return outcome;
  }

  request(event: FlowEvent, options?: EmitOptions): Promise<Reply> {
    const bytes = options?.bytes ?? bytesOf(event);
    // Those who were let in before the signal may still come while the flow drains.
    if (this.#closed) {
      throw new FlowError("http.stopping", "The flow is stopping", { hint: "try again" });
    }
    if (this.#isFull(bytes)) {
      throw new FlowError("http.window_full", "Too many requests are under way", {
        hint: "try again later, or raise max_in_flight",
      });
    }
    const reply = new ReplyCollector(this.#replyPlan);
    const settled = (outcome: Outcome) => {
      const failure = reply.settle(outcome);
      // A delivery that failed is told anyway.
      if (failure && outcome.ok) this.onFailure(failure.cause, event.meta);
    };
    void this.#emit(event, settled, bytes, reply);
    return reply.promise;
  }

  /** Resolves when no delivery is open. */
  async drained(): Promise<void> {
    while (this.#open > 0) await this.#idle.wait();
  }

  /** Takes nothing more. What is still open has failed; its copies end where they are. */
  end(): void {
    this.#closed = true;
    for (const one of this.#until(Infinity)) this.#expire(one, stopped());
    this.#timer?.clear();
    this.#timer = null;
    this.#room.wake();
  }

  ended(delivery: Delivery): void {
    this.#open--;
    this.#bytes -= delivery.bytes;
    this.#unlink(delivery);
    if (!delivery.expired) this.#answer(delivery);
    if (this.#open === 0) this.#idle.wake();
    if (this.#room.any && !this.#isFull(0)) this.#room.wake();
  }

  waiting(delivery: Delivery, waiting: boolean): void {
    this.#waiting += waiting ? 1 : -1;
    if (!waiting) return;
    this.pipeline.waiting(delivery);
    this.#flushIfStuck();
  }

  broken(cause: unknown): void {
    this.pipeline.broken(cause);
  }

  #emit(
    event: FlowEvent,
    settled: Settled,
    bytes: number,
    reply: ReplyCollector | null,
    out = this.#out,
  ): void | Promise<void> {
    if (this.#closed) return tell(this, settled, { ok: false, cause: stopped() });
    const { tenure } = this.pipeline.options;
    if (tenure && !tenure.mayRun()) return tell(this, settled, { ok: false, cause: notOurs() });
    const delivery = new Delivery(this, this.#ordered ? this : undefined);
    delivery.meta = event.meta;
    delivery.bytes = bytes;
    delivery.reply = reply;
    delivery.settled = settled;
    this.#count.events++;
    this.#open++;
    this.#bytes += bytes;
    const taken = this.pipeline.enter(out, event, delivery);
    delivery.settle();
    // What never waits needs neither list nor clock.
    if (delivery.open > 0) this.#link(delivery);
    // Requests come when they come; a full window refuses them.
    if (reply) return;
    return taken ? taken.then(() => this.#next()) : this.#next();
  }

  /** What to wait for before the next event. */
  #next(): void | Promise<void> {
    if (!this.#isFull(0)) return this.#pacer.pause();
    const room = this.#room.wait();
    this.#flushIfStuck();
    // Tasks that never really wait make room without a turn of the event loop.
    const pause = this.#pacer.pause();
    return pause ? pause.then(() => room) : room;
  }

  /** One event larger than the whole window may pass alone. */
  #isFull(bytes: number): boolean {
    if (this.#open === 0) return false;
    return this.#open >= this.window || this.#bytes >= this.windowBytes ||
      this.#bytes + bytes > this.windowBytes;
  }

  /** A full window of which all waits in buffers would wait for ever. */
  #flushIfStuck(): void {
    if (this.#waiting === this.#open && this.#isFull(0)) {
      queueMicrotask(() => {
        if (this.#waiting === this.#open && this.#isFull(0)) this.pipeline.flush("window");
      });
    }
  }

  #answer(delivery: Delivery): void {
    const { outcome } = delivery;
    if (!outcome.ok) this.onFailure(outcome.cause, delivery.meta!);
    tell(this, delivery.settled!, outcome);
  }

  #watch(delivery: Delivery, timeout: number): void {
    const { clock } = this.pipeline.options;
    delivery.deadline = clock.monotonic() + timeout;
    this.#timer ??= clock.after(timeout, () => this.#sweep());
  }

  /** Keeps `#timer` until its end, so that what is emitted meanwhile starts no other. */
  #sweep(): void {
    const { clock } = this.pipeline.options;
    const now = clock.monotonic();
    for (const one of this.#until(now)) this.#expire(one, timedOut(this.#timeout!));
    let next = this.#first;
    while (next?.expired) next = next.after;
    this.#timer = next && clock.after(next.deadline - now, () => this.#sweep());
  }

  /** The open deliveries up to this deadline, as they are now: one that expires may end others. */
  #until(deadline: number): Delivery[] {
    const due: Delivery[] = [];
    for (let one = this.#first; one !== null && one.deadline <= deadline; one = one.after) {
      due.push(one);
    }
    return due;
  }

  #expire(delivery: Delivery, cause: unknown): void {
    if (delivery.expired || delivery.open === 0) return;
    delivery.expire(cause);
    this.pipeline.purge(delivery);
    this.#answer(delivery);
  }

  #link(delivery: Delivery): void {
    if (this.#timeout !== undefined) this.#watch(delivery, this.#timeout);
    delivery.before = this.#last;
    if (this.#last) this.#last.after = delivery;
    else this.#first = delivery;
    this.#last = delivery;
  }

  #unlink(delivery: Delivery): void {
    const { before, after } = delivery;
    if (!before && this.#first !== delivery) return;
    if (before) before.after = after;
    else this.#first = after;
    if (after) after.before = before;
    else this.#last = before;
    delivery.before = delivery.after = null;
  }
}

function bytesOf(event: FlowEvent): number {
  return event.data instanceof Uint8Array ? event.data.byteLength : 0;
}

function stopped(): FlowError {
  return new FlowError("delivery.stopped", "The flow stopped before this was done");
}

function timedOut(timeout: number): FlowError {
  return new FlowError(
    "delivery.timeout",
    `The delivery took longer than ${formatDuration(timeout)}`,
    { hint: "raise ack_timeout on the source, or make the flow faster" },
  );
}
