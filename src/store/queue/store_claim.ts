import type { Timer } from "../../core/clock.ts";
import type { FlowEvent } from "../../flow/event.ts";
import type { Claim } from "../../flow/queue.ts";
import type { Bucket } from "./bucket.ts";
import type { QueuedEvent } from "./record.ts";

/** An event that was read from its bucket and is not gone. */
export interface Item {
  readonly bucket: Bucket;
  readonly index: number;
  readonly bytes: number;
  /** Read again for each delivery: what waits shall not fill memory. */
  value: Uint8Array | null;
  state: "ready" | "taken" | "waiting" | "gone";
  timer: Timer | null;
}

/** What a queue does with an event that was handed out. */
interface Settling {
  /** @throws when the store refuses; the item is due again then. */
  remove(item: Item): Promise<void>;
  /** To any taker, after `delay` milliseconds. */
  again(item: Item, delay: number): void;
  /** @throws when the store refuses; its delivery counts then. */
  giveBack(item: Item): Promise<void>;
}

/** Settles an event with its queue, by the first call. */
export class StoreClaim implements Claim {
  readonly key: string;
  readonly event: FlowEvent;
  readonly pushed: number;
  readonly attempts: number;
  readonly bytes: number;
  #settled = false;

  constructor(readonly queue: Settling, readonly item: Item, { event, pushed }: QueuedEvent) {
    // With the time: numbers begin anew where a queue was empty when it was opened.
    this.key = `${item.bucket.number}/${item.index}@${pushed}`;
    this.event = event;
    this.pushed = pushed;
    this.attempts = item.bucket.attempts(item.index);
    this.bytes = item.bytes;
  }

  async ack(): Promise<void> {
    if (this.#settled) return;
    this.#settled = true;
    await this.queue.remove(this.item);
  }

  async nak(delay: number): Promise<void> {
    if (this.#settled) return;
    this.#settled = true;
    this.queue.again(this.item, delay);
  }

  async giveBack(): Promise<void> {
    if (this.#settled) return;
    this.#settled = true;
    await this.queue.giveBack(this.item);
  }
}
