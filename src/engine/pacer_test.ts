import assert from "node:assert/strict";
import { settle, TestClock } from "../core/clock.ts";
import { testEvent } from "../flow/testing.ts";
import { HandSource, startFlow, sync } from "./testing.ts";

/** A clock that tasks move on by working. */
class WorkClock extends TestClock {
  #worked = 0;
  #turnAt = 0;
  /** Longest work between two turns of the event loop, milliseconds. */
  longest = 0;

  work(ms: number): void {
    this.#worked += ms;
    this.longest = Math.max(this.longest, this.#worked - this.#turnAt);
  }

  turn(): void {
    this.#turnAt = this.#worked;
  }

  override monotonic(): number {
    return super.monotonic() + this.#worked;
  }
}

async function work(cost: number, count: number, how: "emit" | "deliver"): Promise<number> {
  const source = new HandSource({ window: how === "deliver" ? 1 : 1_024 });
  const clock = new WorkClock();
  const { run } = await startFlow([source.task(), sync("work", () => clock.work(cost))], { clock });
  let over = false;
  const everyTurn = () => {
    clock.turn();
    if (!over) setImmediate(everyTurn);
  };
  everyTurn();
  for (let n = 0; n < count; n++) {
    if (how === "deliver") await source.output.deliver(testEvent(n));
    else await source.output.emit(testEvent(n), () => {});
  }
  over = true;
  await settle();
  await run.stop(0);
  return clock.longest;
}

Deno.test("a busy source gives the event loop a turn every 5 ms, whatever a step costs", async () => {
  for (const how of ["emit", "deliver"] as const) {
    for (const cost of [0.01, 0.25, 1, 4]) {
      const longest = await work(cost, 4_000, how);
      assert.ok(
        longest <= 5 + Math.max(1.25, cost),
        `${how}: ${longest} ms of steps of ${cost} ms`,
      );
    }
  }
});
