import type { Timer } from "../core/clock.ts";
import { InternalError, textOf } from "../core/errors.ts";
import type { FlowEvent } from "../flow/event.ts";
import {
  type AsyncRun,
  type Call,
  type HttpReply,
  Many,
  type Output,
  Tracked,
} from "../flow/task.ts";
import { type Copy, type Delivery, NestedOrigin, tell } from "./delivery.ts";
import { Fifo } from "./fifo.ts";
import type { Node } from "./graph.ts";
import { type Pipeline, type Port, respondTo } from "./pipeline.ts";
import { retryDelay } from "./retry.ts";
import { type Target, Waiters } from "./room.ts";

type State = "queued" | "running" | "retrying" | "done";

/** One event in a stage, and what its task sees of the engine. */
class Slot implements Call {
  state: State = "queued";
  attempt = 1;
  output: Output = null;
  failure: { cause: unknown } | null = null;
  timer: Timer | null = null;
  lane: Lane | null = null;
  before: Slot | null = null;
  after: Slot | null = null;

  constructor(readonly event: FlowEvent, readonly copy: Copy) {}

  get signal(): AbortSignal {
    return this.copy.delivery.signal;
  }

  respond(reply: HttpReply): boolean {
    return respondTo(this.copy.delivery, reply);
  }

  expand(): never {
    throw new InternalError("stage.expand", "An async task returns Many in place of expanding");
  }
}

/** Slots whose outputs leave in the order in which their events came. */
interface Lane {
  readonly key: object;
  head: Slot | null;
  tail: Slot | null;
  /** An output of this lane is being taken; the next one waits. */
  busy: boolean;
}

/** Events that may wait for a retry before nothing new is started. */
const MOST_RETRYING = 1_024;

/** Runs an async task: a bounded queue, so many at once, retries, and outputs in order. */
export class Stage implements Target {
  readonly #queue = new Fifo<Slot>();
  /** Retries whose time has come; they go first. */
  readonly #ready = new Fifo<Slot>();
  readonly #retrying = new Set<Slot>();
  readonly #lanes = new Map<object, Lane>();
  readonly #waiters = new Waiters();
  readonly #capacity: number;
  readonly #out: Port;
  /** A leaf's outputs go nowhere, so nothing needs to wait for its turn. */
  readonly #keepsOrder: boolean;
  /** Where no output shows the order, the task's own effects must come in order: one at a time. */
  readonly #serial: boolean;
  readonly #concurrency: number;
  /** At work, or handing on what they made. */
  #running = 0;
  /** Done, but something before them is not. */
  #waitingTurn = 0;
  #pumping = false;
  /** Depth of calls into the task and into what comes behind; what is pushed meanwhile queues up. */
  #inside = 0;

  constructor(
    readonly pipeline: Pipeline,
    readonly node: Node,
    readonly run: AsyncRun,
    concurrency: number,
  ) {
    this.#capacity = 2 * concurrency;
    this.#out = pipeline.out(node);
    this.#keepsOrder = node.children.length + node.handlers.length > 0;
    this.#serial = node.task.ordered && node.children.length === 0;
    this.#concurrency = this.#serial ? 1 : concurrency;
  }

  get full(): boolean {
    return this.#queue.length >= this.#capacity;
  }

  room(): Promise<void> {
    return this.#waiters.wait();
  }

  push(event: FlowEvent, copy: Copy): void {
    const { delivery } = copy;
    if (delivery.expired) return;
    delivery.hold();
    const slot = new Slot(event, copy);
    if (this.#inside > 0 || this.#queue.length > 0) this.#queue.push(slot);
    else if (this.#running >= this.#concurrency || !this.#mayStart) this.#queue.push(slot);
    else {
      this.#start(slot);
      if (this.#queue.length > 0) this.#pump();
    }
  }

  purge(delivery: Delivery): void {
    const ofDelivery = (slot: Slot) => slot.copy.delivery === delivery;
    // All of them first: what ends now may let others start.
    const queued = this.#queue.remove(ofDelivery);
    const retrying = [...this.#retrying].filter(ofDelivery);
    this.#ready.remove(ofDelivery);
    for (const slot of retrying) {
      slot.timer?.clear();
      this.#retrying.delete(slot);
    }
    for (const slot of queued) slot.copy.delivery.settle();
    for (const slot of retrying) {
      this.#running++; // as `done` counts it off
      this.#done(slot);
    }
    this.#pump();
  }

  get #mayStart(): boolean {
    return this.#waitingTurn < this.#capacity && this.#ready.length === 0 &&
      this.#retrying.size < (this.#serial ? 1 : MOST_RETRYING);
  }

  #start(slot: Slot): void {
    this.#running++;
    if (this.#keepsOrder && this.#lanes.size > 0) {
      // Without others before it, a slot that ends at once needs no lane.
      const lane = this.#lanes.get(this.#keyOf(slot));
      if (lane) append(slot.lane = lane, slot);
    }
    this.#attempt(slot);
  }

  #keyOf(slot: Slot): object {
    return this.node.task.ordered ? this : slot.copy.delivery.order;
  }

  #attempt(slot: Slot): void {
    slot.state = "running";
    let output: Output | Promise<Output>;
    this.#inside++;
    try {
      output = this.run(slot.event, slot);
    } catch (cause) {
      this.#inside--;
      return this.#failed(slot, cause);
    }
    this.#inside--;
    if (output instanceof Promise) {
      this.#needLane(slot);
      output.then((result) => this.#succeeded(slot, result), (cause) => this.#failed(slot, cause));
    } else this.#succeeded(slot, output);
  }

  #needLane(slot: Slot): void {
    if (this.#keepsOrder && !slot.lane) append(slot.lane = this.#laneOf(slot), slot);
  }

  #laneOf(slot: Slot): Lane {
    const key = this.#keyOf(slot);
    let lane = this.#lanes.get(key);
    if (!lane) this.#lanes.set(key, lane = { key, head: null, tail: null, busy: false });
    return lane;
  }

  #succeeded(slot: Slot, output: Output): void {
    slot.output = output;
    this.#done(slot);
    this.#pump();
  }

  #failed(slot: Slot, cause: unknown): void {
    const { random, clock } = this.pipeline.options;
    const policy = this.node.task.retry ?? this.pipeline.options.retry;
    const delay = slot.copy.delivery.expired
      ? null
      : retryDelay(policy, slot.attempt, cause, random);
    if (delay === null) {
      slot.failure = { cause };
      this.#done(slot);
    } else {
      this.#needLane(slot);
      this.#running--;
      slot.state = "retrying";
      this.#retrying.add(slot);
      slot.timer = clock.after(delay, () => {
        this.#ready.push(slot);
        this.#pump();
      });
      this.pipeline.options.log.debug("A task is tried again", {
        task: this.node.task.name,
        attempt: slot.attempt,
        delay,
        error: textOf(cause),
      });
      // Those behind it need not wait for it.
      if (slot.lane) this.#advance(slot.lane);
    }
    this.#pump();
  }

  #done(slot: Slot): void {
    slot.state = "done";
    this.#running--;
    this.#waitingTurn++;
    if (slot.lane) this.#advance(slot.lane);
    else this.#handOn(slot);
  }

  /** Releases one; `true` when it is finished, `false` when it takes until there is room. */
  #handOn(slot: Slot): boolean {
    this.#waitingTurn--;
    this.#running++;
    let { lane } = slot;
    if (lane) lane.busy = true;
    this.#inside++;
    const accepted = this.#release(slot);
    slot.copy.delivery.settle();
    this.#inside--;
    if (!accepted) {
      this.#running--;
      if (lane) lane.busy = false;
      return true;
    }
    // Who comes later must not overtake what is still to be handed on.
    if (this.#keepsOrder) (lane ??= this.#laneOf(slot)).busy = true;
    accepted.then(() => {
      this.#running--;
      if (lane) {
        lane.busy = false;
        this.#advance(lane);
      }
      this.#pump();
    });
    return false;
  }

  /** Releases, from the head, what nothing before it holds back. */
  #advance(lane: Lane): void {
    // Within one delivery order is strict; other deliveries may pass one that is being retried.
    let passed: Set<Delivery> | null = null;
    let slot = lane.head;
    while (slot !== null && !lane.busy) {
      if (slot.state === "retrying" && !this.node.task.ordered) {
        (passed ??= new Set()).add(slot.copy.delivery.root);
      } else if (slot.state !== "done") {
        break;
      } else if (!passed?.has(slot.copy.delivery.root)) {
        const next: Slot | null = slot.after;
        remove(lane, slot);
        if (!this.#handOn(slot)) return;
        slot = next;
        if (slot === null) {
          // More may have come while this one was handed on.
          slot = lane.head;
          passed = null;
        }
        continue;
      }
      slot = slot.after;
    }
    if (lane.head === null && !lane.busy) this.#lanes.delete(lane.key);
  }

  #pump(): void {
    if (this.#pumping || this.#inside > 0) return;
    this.#pumping = true;
    while (this.#running < this.#concurrency && this.#ready.length > 0) {
      const slot = this.#ready.shift()!;
      this.#retrying.delete(slot);
      this.#running++;
      slot.attempt++;
      this.#attempt(slot);
    }
    while (this.#running < this.#concurrency && this.#queue.length > 0 && this.#mayStart) {
      this.#start(this.#queue.shift()!);
    }
    this.#pumping = false;
    if (!this.full) this.#waiters.wake();
  }

  /** Hands the outputs on; a promise while what comes behind has no room. */
  #release(slot: Slot): void | Promise<void> {
    const { pipeline, node } = this;
    const { copy, event, output } = slot;
    if (copy.delivery.expired) {
      const { origin, outcome } = copy.delivery;
      if (output instanceof Tracked) tell(origin, output.settled, outcome);
      return;
    }
    if (slot.failure) {
      return pipeline.failFrom(node, event, slot.failure.cause, slot.attempt, copy);
    }
    if (output === null) return;
    if (output instanceof Tracked) return this.#follow(output, copy);
    if (output instanceof Many) return this.#many(slot, output);
    return pipeline.enter(this.#out, output, copy);
  }

  #follow({ event, settled }: Tracked, copy: Copy): void | Promise<void> {
    const { pipeline } = this;
    const { delivery: parent } = copy;
    parent.hold();
    const { delivery } = new NestedOrigin(
      [copy],
      parent.order,
      (expired) => pipeline.purge(expired),
      parent.root,
      (outcome) => settled(parent.expired ? parent.outcome : outcome),
    );
    delivery.reply = parent.reply;
    const accepted = pipeline.enter(this.#out, event, { delivery, path: copy.path });
    delivery.settle();
    return accepted;
  }

  async #many(slot: Slot, { events, expansion }: Many): Promise<void> {
    const { pipeline, node } = this;
    const { copy } = slot;
    copy.delivery.hold();
    if (expansion) copy.delivery.reply?.expanded(node);
    let index = 0;
    try {
      for await (const event of events) {
        if (copy.delivery.expired) break;
        const path = copy.delivery.reply ? [...copy.path, index++] : copy.path;
        const accepted = pipeline.enter(this.#out, event, { delivery: copy.delivery, path });
        if (accepted) await accepted;
        const pause = pipeline.pacer.pause();
        if (pause) await pause;
      }
    } catch (cause) {
      // Outputs have left, so this attempt cannot be taken back.
      await pipeline.failFrom(node, slot.event, cause, slot.attempt, copy);
    }
    copy.delivery.settle();
  }
}

function append(lane: Lane, slot: Slot): void {
  slot.before = lane.tail;
  if (lane.tail) lane.tail.after = slot;
  else lane.head = slot;
  lane.tail = slot;
}

function remove(lane: Lane, slot: Slot): void {
  if (slot.before) slot.before.after = slot.after;
  else lane.head = slot.after;
  if (slot.after) slot.after.before = slot.before;
  else lane.tail = slot.before;
}
