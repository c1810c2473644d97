/** A NATS that ends and comes back, with runtimes on it. */
import assert from "node:assert/strict";
import type { Population } from "./population.ts";
import { PATIENCE } from "./scene.ts";

export interface Outage {
  /** Milliseconds from the end of NATS to the last attempt before it was back; 0: none. */
  readonly stopped: number;
  /** Milliseconds from NATS being back to a first attempt of every flow, and a write of `counting`. */
  readonly resumed: number;
  /** Milliseconds between two attempts of a flow, at most. */
  readonly longest: number;
}

/**
 * Takes NATS away for some time, as `away` and `back` do it. Elected flows must have stopped before a
 * lease is over, since by then another node could run them; afterwards all goes on by itself.
 */
export async function outage(
  population: Population,
  { away, back, last }: {
    away: () => unknown;
    back: () => unknown;
    /** Milliseconds. */
    last: number;
  },
): Promise<Outage> {
  const { scene, counted, all: flows } = population;
  const { journal } = scene;
  journal.measureGaps();
  await away();
  const gone = performance.now();
  await new Promise((resolve) => setTimeout(resolve, last));
  const lasts = flows.map((flow) => journal.startOf(journal.latest(flow)!) - gone);
  const stopped = Math.max(0, ...lasts);
  if (last > scene.lease) {
    assert.ok(stopped < scene.lease, `Attempts went on for ${stopped} ms without NATS`);
  }
  await back();
  const returned = performance.now();
  // An attempt of a right from before proves nothing, a write does.
  const written = await journal.hold(
    ({ flow, kind, outcome }) => flow === counted && kind === "end" && outcome === "done",
    PATIENCE,
  );
  written.release();
  const attempts = await scene.alive(flows);
  const starts = attempts.map((attempt) => journal.startOf(attempt));
  const resumed = Math.max(written.attempt.heard, ...starts) - returned;
  // Whatever the old rights were worth, they have ended by now.
  await new Promise((resolve) => setTimeout(resolve, scene.lease));
  await scene.alive(flows);
  // Watches work again when a node sees all others come back, and claims when all flows are owned.
  for (const node of scene.running) {
    await scene.members(scene.running.length, node);
    await scene.seen(
      (view) => flows.every((name) => view.flows.some(({ flow, owner }) => flow === name && owner)),
      node,
    );
  }
  journal.check();
  return { stopped, resumed, longest: journal.gap() };
}
