import type { Delivery } from "./delivery.ts";

/** Something with bounded room: a stage's queue, or a buffer whose batches are not taken yet. */
export interface Target {
  /** Whether another event of this delivery has to wait. */
  full(delivery: Delivery): boolean;
  /** Resolves when it may have room; ask `full` again. */
  room(delivery: Delivery): Promise<void>;
}

export function anyFull(targets: readonly Target[], delivery: Delivery): boolean {
  for (const target of targets) if (target.full(delivery)) return true;
  return false;
}

/** Resolves once none of `targets` is full; `undefined` where that is so already. */
export function roomIn(
  targets: readonly Target[],
  delivery: Delivery,
): Promise<void> | undefined {
  return anyFull(targets, delivery) ? waitFor(targets, delivery) : undefined;
}

async function waitFor(targets: readonly Target[], delivery: Delivery): Promise<void> {
  for (;;) {
    const full = targets.find((target) => target.full(delivery));
    if (!full) return;
    await full.room(delivery);
  }
}

/** Those who wait until something has room. */
export class Waiters {
  #waiting: (() => void)[] = [];

  wait(): Promise<void> {
    return new Promise((resolve) => this.#waiting.push(resolve));
  }

  get any(): boolean {
    return this.#waiting.length > 0;
  }

  wake(): void {
    if (this.#waiting.length === 0) return;
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const resolve of waiting) resolve();
  }
}
