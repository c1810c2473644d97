import type { Timer } from "../core/clock.ts";
import { InternalError } from "../core/errors.ts";
import type { FlowEvent } from "../flow/event.ts";
import type { Call, HttpReply, Output } from "../flow/task.ts";
import type { Copy, Delivery } from "./delivery.ts";
import { Fifo } from "./fifo.ts";
import { respondTo } from "./port.ts";
import { Waiters } from "./room.ts";

/** One event in a stage, and what its task sees of the engine. */
export class Slot implements Call {
  state: "queued" | "running" | "retrying" | "done" = "queued";
  attempt = 1;
  output: Output = null;
  failure: { readonly cause: unknown } | null = null;
  timer: Timer | null = null;
  lane: Lane | null = null;
  before: Link | null = null;
  after: Link | null = null;

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

/** What stands in a lane: a slot, or the place of a branch. */
type Link = Slot | Lane;

/** Slots whose outputs leave in the order in which their events came. */
export class Lane {
  head: Link | null = null;
  tail: Link | null = null;
  /** An output of this lane is being taken; the next one waits. */
  busy = false;
  /** Slots that were started but are not at work: in retry, or done behind another one. */
  aside = 0;
  /** Events that are not started while too many are aside. */
  held: Fifo<Slot> | null = null;
  /** Those who wait until less is held. */
  waiters: Waiters | null = null;
  /** The lane that this one is a branch of, until all that came before it there have left. */
  trunk: Lane | null = null;
  before: Link | null = null;
  after: Link | null = null;

  constructor(readonly key: object) {}

  get holding(): number {
    return this.held === null ? 0 : this.held.length;
  }

  hold(slot: Slot): void {
    (this.held ??= new Fifo()).push(slot);
  }

  /** Resolves when less is held. */
  room(): Promise<void> {
    return (this.waiters ??= new Waiters()).wait();
  }

  append(slot: Slot): void {
    slot.lane = this;
    this.#insert(slot, this.tail, null);
  }

  prepend(slot: Slot): void {
    slot.lane = this;
    this.#insert(slot, null, this.head);
  }

  remove(one: Link): void {
    if (one.before) one.before.after = one.after;
    else this.head = one.after;
    if (one.after) one.after.before = one.before;
    else this.tail = one.before;
  }

  /**
   * Moves `first` and what its root delivery has behind it to a lane of that delivery alone, so that
   * others may pass. The branch takes its place in line.
   */
  fork(first: Slot, branch: Lane): void {
    const root = branch.key;
    if (branch.trunk) this.remove(branch);
    branch.trunk = this;
    this.#insert(branch, first.before, first);
    let one: Link | null = this.tail;
    while (one !== null && one !== branch) {
      const { before }: Link = one;
      if (one instanceof Slot && one.copy.delivery.root === root) {
        this.remove(one);
        branch.prepend(one);
        if (one.state !== "running") {
          this.aside--;
          branch.aside++;
        }
      }
      one = before;
    }
    for (const slot of this.unhold((delivery) => delivery.root === root)) branch.hold(slot);
  }

  /** Takes the events of matching deliveries out of those that are held. */
  unhold(matches: (delivery: Delivery) => boolean): Slot[] {
    return this.held?.remove((slot) => matches(slot.copy.delivery)) ?? [];
  }

  #insert(one: Link, before: Link | null, after: Link | null): void {
    one.before = before;
    one.after = after;
    if (before) before.after = one;
    else this.head = one;
    if (after) after.before = one;
    else this.tail = one;
  }
}
