import type { FlowEvent } from "../flow/event.ts";
import type { Collector, CollectorOutput, FlushReason, Held } from "../flow/task.ts";
import { type Copy, type Delivery, NestedOrigin } from "./delivery.ts";
import { Fifo } from "./fifo.ts";
import type { Node } from "./graph.ts";
import type { Pipeline } from "./pipeline.ts";
import type { Port } from "./port.ts";
import { type Target, Waiters } from "./room.ts";

interface HeldCopy extends Held {
  readonly copy: Copy;
}

interface Batch {
  readonly event: FlowEvent;
  readonly delivery: Delivery;
}

/** Runs a task that keeps events and emits batches; keeps the accounts of what it holds. */
export class CollectorNode implements Target {
  readonly #collector: Collector;
  readonly #out: Port;
  readonly #held = new Map<Delivery, Set<HeldCopy>>();
  readonly #waiters = new Waiters();
  /** Batches keep the order in which they were emitted. */
  readonly #order = {};
  readonly #batches = new Fifo<Batch>();
  /** One batch is being handed on; the next ones wait. */
  #busy = false;

  constructor(
    readonly pipeline: Pipeline,
    readonly node: Node,
    make: (output: CollectorOutput) => Collector,
  ) {
    this.#out = pipeline.out(node);
    this.#collector = make({ emit: (event, members) => this.#emit(event, members) });
  }

  /** A batch that nobody takes yet holds back what comes after it. */
  full(): boolean {
    return this.#busy;
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
    if (this.#held.size > 0) this.#ask(() => this.#collector.flush(reason));
  }

  completed(delivery: Delivery): void {
    if (!this.#collector.completed || this.#held.size === 0) return;
    // Not from within `add`, whose bookkeeping is not finished yet.
    queueMicrotask(() => {
      const left = [...delivery.family()].flatMap((one) => [...this.#held.get(one) ?? []]);
      if (left.length > 0) this.#ask(() => this.#collector.completed!(left));
    });
  }

  purge(delivery: Delivery): void {
    for (const held of [...this.#held.get(delivery) ?? []]) {
      this.#forget(held);
      this.#ask(() => this.#collector.drop(held));
      delivery.settle();
    }
    for (const batch of this.#batches.remove((one) => one.delivery === delivery)) {
      batch.delivery.settle();
    }
  }

  #ask(call: () => void): void {
    try {
      call();
    } catch (cause) {
      this.pipeline.broken(cause);
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
    this.#batches.push({ event, delivery });
    if (!this.#busy) this.#handOn();
  }

  /** Hands batches on, one after another, as what comes behind has room. */
  #handOn(): void {
    this.#busy = true;
    for (let batch = this.#batches.shift(); batch; batch = this.#batches.shift()) {
      const { event, delivery } = batch;
      const accepted = this.pipeline.enter(this.#out, event, delivery);
      delivery.settle();
      if (accepted) {
        accepted.then(() => this.#handOn());
        return;
      }
    }
    this.#busy = false;
    this.#waiters.wake();
  }
}
