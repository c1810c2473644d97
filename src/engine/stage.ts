import { textOf } from "../core/errors.ts";
import type { FlowEvent } from "../flow/event.ts";
import { type AsyncRun, Many, type Output, Tracked } from "../flow/task.ts";
import { type Copy, type Delivery, NestedOrigin, tell } from "./delivery.ts";
import { Fifo } from "./fifo.ts";
import type { Node } from "./graph.ts";
import { Lane, Slot } from "./lane.ts";
import { isEvent, isOutput, notAnEvent } from "./output.ts";
import type { Pipeline } from "./pipeline.ts";
import type { Port } from "./port.ts";
import { retryDelay } from "./retry.ts";
import { type Target, Waiters } from "./room.ts";
import { notOurs } from "./tenure.ts";

/** Why an attempt came to nothing. */
interface Failure {
  readonly cause: unknown;
}

/** Runs an async task: a bounded queue, so many at once, retries, and outputs in order. */
export class Stage implements Target {
  readonly #queue = new Fifo<Slot>();
  /** Retries whose time has come; they go first. */
  readonly #ready = new Fifo<Slot>();
  readonly #retrying = new Set<Slot>();
  /** Where something is under way that others could overtake, or too much waits. */
  readonly #lanes = new Map<object, Lane>();
  /** Lanes that may start again what they hold, one event of each in turn. */
  readonly #freed = new Set<Lane>();
  readonly #waiters = new Waiters();
  readonly #capacity: number;
  readonly #out: Port;
  /** A leaf's outputs go nowhere, so nothing needs to wait for its turn. */
  readonly #keepsOrder: boolean;
  readonly #concurrency: number;
  /** So many of a lane may be aside. More of it is held, and others go on. */
  readonly #mostAside: number;
  /** At work, or handing on what they made. */
  #running = 0;
  /** Held by all lanes. */
  #holding = 0;
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
    // Where no output shows the order, the task's own effects must come in order: one at a time.
    const serial = node.task.ordered && node.children.length === 0;
    this.#concurrency = serial ? 1 : concurrency;
    this.#mostAside = serial ? 1 : this.#capacity;
  }

  full(delivery: Delivery): boolean {
    return this.#queue.length >= this.#capacity || this.#fullLane(delivery) !== undefined;
  }

  room(delivery: Delivery): Promise<void> {
    const lane = this.#fullLane(delivery);
    return lane ? lane.room() : this.#waiters.wait();
  }

  push(event: FlowEvent, copy: Copy): void {
    const { delivery } = copy;
    if (delivery.expired) return;
    delivery.hold();
    const slot = new Slot(event, copy);
    const waits = this.#inside > 0 || this.#running >= this.#concurrency ||
      this.#queue.length > 0 || this.#ready.length > 0;
    if (waits) this.#queue.push(slot);
    else {
      this.#begin(slot);
      if (this.#queue.length > 0) this.#pump();
    }
  }

  purge(delivery: Delivery): void {
    const ofDelivery = (slot: Slot) => slot.copy.delivery === delivery;
    // All of them first: what ends now may let others start.
    const waiting = this.#queue.remove(ofDelivery);
    const lane = this.#laneOf(delivery);
    if (lane) {
      const held = lane.unhold((one) => one === delivery);
      this.#holding -= held.length;
      waiting.push(...held);
      this.#resume(lane);
    }
    this.#ready.remove(ofDelivery);
    const retrying = [...this.#retrying].filter(ofDelivery);
    for (const slot of retrying) {
      slot.timer?.clear();
      this.#takeUp(slot);
    }
    for (const slot of waiting) slot.copy.delivery.settle();
    for (const slot of retrying) this.#done(slot);
    this.#pump();
  }

  #pump(): void {
    if (this.#pumping || this.#inside > 0) return;
    this.#pumping = true;
    while (this.#running < this.#concurrency && this.#startNext());
    this.#pumping = false;
    if (this.#queue.length < this.#capacity) this.#waiters.wake();
  }

  /** Starts or holds what comes next; `false` when there is nothing. */
  #startNext(): boolean {
    const again = this.#ready.shift();
    if (again) {
      this.#takeUp(again);
      again.attempt++;
      this.#attempt(again);
      return true;
    }
    for (const lane of this.#freed) {
      this.#freed.delete(lane);
      const slot = lane.aside < this.#mostAside ? lane.held?.shift() : undefined;
      if (!slot) continue;
      this.#holding--;
      this.#start(slot, lane);
      this.#resume(lane);
      return true;
    }
    const slot = this.#queue.shift();
    if (slot) this.#begin(slot);
    return slot !== undefined;
  }

  /** Starts an event, or holds it where too many of its lane are aside. */
  #begin(slot: Slot): void {
    const lane = this.#lanes.size > 0 ? this.#laneOf(slot.copy.delivery) : undefined;
    if (lane && (lane.aside >= this.#mostAside || lane.holding > 0)) {
      lane.hold(slot);
      this.#holding++;
    } else this.#start(slot, lane);
  }

  #start(slot: Slot, lane: Lane | undefined): void {
    this.#running++;
    // Without others before it, a slot that ends at once needs no lane.
    if (lane && this.#keepsOrder) lane.append(slot);
    this.#attempt(slot);
  }

  #attempt(slot: Slot): void {
    slot.state = "running";
    const { tenure } = this.pipeline.options;
    if (tenure && !tenure.mayRun()) return this.#failed(slot, notOurs());
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
      if (this.#keepsOrder && !slot.lane) this.#needLane(slot).append(slot);
      output.then((result) => this.#succeeded(slot, result), (cause) => this.#failed(slot, cause));
    } else this.#succeeded(slot, output);
  }

  #succeeded(slot: Slot, output: Output): void {
    if (!isOutput(output)) return this.#failed(slot, notAnEvent(this.node, output));
    slot.output = output;
    this.#done(slot);
    this.#pump();
  }

  #failed(slot: Slot, cause: unknown): void {
    const { random } = this.pipeline.options;
    const policy = this.node.task.retry ?? this.pipeline.options.retry;
    const { tenure } = this.pipeline.options;
    const delay = slot.copy.delivery.expired || (tenure && !tenure.mayRun())
      ? null
      : retryDelay(policy, slot.attempt, cause, random);
    if (delay === null) {
      slot.failure = { cause };
      this.#done(slot);
    } else this.#retry(slot, delay, cause);
    this.#pump();
  }

  #retry(slot: Slot, delay: number, cause: unknown): void {
    const { clock, log } = this.pipeline.options;
    this.#running--;
    slot.state = "retrying";
    this.#retrying.add(slot);
    slot.timer = clock.after(delay, () => {
      this.#ready.push(slot);
      this.#pump();
    });
    log.debug("A task is tried again", {
      task: this.node.task.name,
      attempt: slot.attempt,
      delay,
      error: textOf(cause),
    });
    const lane = slot.lane ?? this.#needLane(slot);
    lane.aside++;
    if (!this.#keepsOrder) slot.lane = lane;
    else {
      if (!slot.lane) lane.append(slot);
      this.#letPass(slot, lane);
    }
  }

  /** Within one delivery order is strict; other deliveries may pass one that is being retried. */
  #letPass(slot: Slot, lane: Lane): void {
    const { root } = slot.copy.delivery;
    if (this.node.task.ordered || lane.key === root) return;
    const branch = this.#lanes.get(root) ?? this.#newLane(root);
    lane.fork(slot, branch);
    this.#resume(branch);
    this.#advance(lane);
  }

  /** Makes a retry a running attempt. */
  #takeUp(slot: Slot): void {
    const lane = slot.lane!;
    this.#retrying.delete(slot);
    this.#running++;
    lane.aside--;
    if (!this.#keepsOrder) slot.lane = null;
    this.#resume(lane);
  }

  #done(slot: Slot): void {
    const { lane } = slot;
    slot.state = "done";
    this.#running--;
    if (!lane) return this.#handOn(slot);
    lane.aside++;
    this.#advance(lane);
  }

  /** Releases, from the head, what nothing before it holds back. */
  #advance(lane: Lane): void {
    while (!lane.busy && !lane.trunk) {
      const { head } = lane;
      if (head === null) break;
      if (head instanceof Lane) {
        lane.remove(head);
        head.trunk = null;
        this.#advance(head);
      } else if (head.state === "done") {
        lane.remove(head);
        lane.aside--;
        this.#handOn(head);
      } else break;
    }
    this.#resume(lane);
  }

  /** Releases one, and keeps its lane busy until there is room behind. */
  #handOn(slot: Slot): void {
    let { lane } = slot;
    this.#running++;
    if (lane) lane.busy = true;
    this.#inside++;
    const accepted = this.#release(slot);
    slot.copy.delivery.settle();
    this.#inside--;
    if (!accepted) {
      this.#running--;
      if (lane) lane.busy = false;
      return;
    }
    // Who comes later must not overtake what is still to be handed on.
    if (this.#keepsOrder) (lane ??= this.#needLane(slot)).busy = true;
    accepted.then((failure) => {
      if (lane) lane.busy = false;
      if (failure) {
        if (lane) lane.prepend(slot);
        return this.#failed(slot, failure.cause);
      }
      this.#running--;
      if (lane) this.#advance(lane);
      this.#pump();
    });
  }

  /** Where this delivery's events stand in line, if anywhere. */
  #laneOf(delivery: Delivery): Lane | undefined {
    if (this.node.task.ordered) return this.#lanes.get(this);
    const { order, root } = delivery;
    const own = this.#lanes.get(root);
    return own || order === root || !this.#keepsOrder ? own : this.#lanes.get(order);
  }

  #needLane({ copy: { delivery } }: Slot): Lane {
    return this.#laneOf(delivery) ?? this.#newLane(
      this.node.task.ordered ? this : this.#keepsOrder ? delivery.order : delivery.root,
    );
  }

  #newLane(key: object): Lane {
    const lane = new Lane(key);
    this.#lanes.set(key, lane);
    return lane;
  }

  /** The lane of this delivery, where it holds so much that its source shall wait. */
  #fullLane(delivery: Delivery): Lane | undefined {
    if (this.#holding < this.#capacity) return undefined;
    const lane = this.#laneOf(delivery);
    return lane && lane.holding >= this.#capacity ? lane : undefined;
  }

  /** Less of a lane is aside or held: what it holds may start, or it may go. */
  #resume(lane: Lane): void {
    if (lane.holding > 0) {
      if (lane.aside < this.#mostAside) this.#freed.add(lane);
    } else if (lane.head === null && lane.aside === 0 && !lane.busy && !lane.trunk) {
      this.#lanes.delete(lane.key);
    }
    if (lane.waiters && lane.holding < this.#capacity) lane.waiters.wake();
  }

  /** Hands the outputs on; a promise while what comes behind has no room. */
  #release(slot: Slot): void | Promise<Failure | void> {
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
    if (output instanceof Tracked) return this.#follow(slot, output);
    if (output instanceof Many) return this.#many(slot, output, copy);
    return pipeline.enter(this.#out, output, copy);
  }

  #follow(slot: Slot, { event, settled }: Tracked): void | Promise<Failure | void> {
    const { pipeline } = this;
    const { copy } = slot;
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
    const inner: Copy = { delivery, path: copy.path, event: null };
    const accepted = event instanceof Many
      ? this.#many(slot, event, inner)
      : pipeline.enter(this.#out, event, inner);
    delivery.settle();
    return accepted;
  }

  /**
   * Answers with the failure where no output has left, so that the attempt can be taken back; where
   * somebody follows, the failure is the end that they hear of.
   */
  async #many(
    slot: Slot,
    { events, expansion }: Many,
    copy: Copy,
  ): Promise<Failure | void> {
    const { pipeline, node } = this;
    const { delivery } = copy;
    delivery.hold();
    if (expansion) delivery.reply?.expanded(node);
    let left = 0;
    try {
      for await (const event of events) {
        if (delivery.expired) break;
        if (!isEvent(event)) throw notAnEvent(node, event);
        const path = delivery.reply ? [...copy.path, left] : copy.path;
        left++;
        const accepted = pipeline.enter(this.#out, event, { delivery, path, event: null });
        if (accepted) await accepted;
        const pause = pipeline.pacer.pause();
        if (pause) await pause;
      }
    } catch (cause) {
      if (left === 0 && copy === slot.copy) return { cause };
      await pipeline.failFrom(node, slot.event, cause, slot.attempt, copy);
    }
    delivery.settle();
  }
}
