import type { FlowEvent } from "../flow/event.ts";
import type { Collector, CollectorOutput, FlushReason, Held } from "../flow/task.ts";
import { type Copy, type Delivery, NestedOrigin } from "./delivery.ts";
import type { Node } from "./graph.ts";
import type { Pipeline } from "./pipeline.ts";
import { type Target, Waiters } from "./room.ts";

interface HeldCopy extends Held {
  readonly copy: Copy;
}

/** Runs a task that keeps events and emits batches; keeps the accounts of what it holds. */
export class CollectorNode implements Target {
  readonly #collector: Collector;
  readonly #held = new Map<Delivery, Set<HeldCopy>>();
  readonly #waiters = new Waiters();
  /** Batches are in the order they were emitted. */
  readonly #order = {};
  #backlog = 0;

  constructor(
    readonly pipeline: Pipeline,
    readonly node: Node,
    make: (output: CollectorOutput) => Collector,
  ) {
    this.#collector = make({ emit: (event, members) => this.#emit(event, members) });
  }

  /** A batch that nobody takes yet holds back what comes after it. */
  get full(): boolean {
    return this.#backlog > 0;
  }

  room(): Promise<void> {
    return this.#waiters.wait();
  }

  push(event: FlowEvent, copy: Copy): void {
    const { delivery } = copy;
    if (delivery.expired) return;
    const held: HeldCopy = { event, copy };
    const ours = this.#held.get(delivery);
    if (ours) ours.add(held);
    else this.#held.set(delivery, new Set([held]));
    delivery.hold();
    delivery.buffer(1);
    delivery.reply?.absorbed(this.node);
    try {
      this.#collector.add(held);
    } catch (cause) {
      if (!this.#forget(held)) return this.pipeline.fail(this.node, event, cause, 1);
      this.pipeline.fail(this.node, event, cause, 1);
      delivery.settle();
    }
  }

  flush(reason: FlushReason): void {
    if (this.#held.size > 0) this.#collector.flush(reason);
  }

  completed(delivery: Delivery): void {
    const held = this.#held.get(delivery);
    if (held && this.#collector.completed) {
      // Not from within `add`, whose bookkeeping is not finished yet.
      queueMicrotask(() => {
        const left = this.#held.get(delivery);
        if (left) this.#collector.completed!([...left]);
      });
    }
  }

  purge(delivery: Delivery): void {
    for (const held of [...this.#held.get(delivery) ?? []]) {
      this.#forget(held);
      this.#collector.drop(held);
      delivery.settle();
    }
  }

  /** Takes one out of the accounts; whether it was there. */
  #forget(held: HeldCopy): boolean {
    const { delivery } = held.copy;
    const ours = this.#held.get(delivery);
    if (!ours?.delete(held)) return false;
    if (ours.size === 0) this.#held.delete(delivery);
    delivery.buffer(-1);
    return true;
  }

  #emit(event: FlowEvent, held: readonly Held[]): void {
    const members = (held as readonly HeldCopy[]).filter((one) => this.#forget(one));
    if (members.length === 0) return;
    const { delivery } = new NestedOrigin(
      members.map((one) => one.copy),
      this.#order,
      (expired) => this.pipeline.purge(expired),
    );
    const accepted = this.pipeline.enter(this.pipeline.out(this.node), event, delivery);
    if (!accepted) return delivery.settle();
    this.#backlog++;
    accepted.then(() => {
      this.#backlog--;
      delivery.settle();
      if (this.#backlog === 0) this.#waiters.wake();
    });
  }
}
