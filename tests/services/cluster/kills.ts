/** Owners that end, of a sudden or in order, and how long their flows stand still. */
import { PATIENCE, type Scene } from "./scene.ts";
import type { Attempt } from "./journal.ts";
import type { Node } from "./node.ts";

/** Chance of a test; a failing one prints its seed. */
export type Chance = () => number;

let rounds = 0;

/**
 * Ends the owner of fresh flows at some moment, starts another node, and again. The flows of a round
 * are new, because a flow that ends its nodes again and again is made to wait, rightly.
 *
 * @returns Milliseconds from the signal to the first attempt elsewhere, of each flow that moved.
 */
export async function endOwners(
  scene: Scene,
  { times, chance, by, flows = 3 }: {
    times: number;
    chance: Chance;
    by: "kill" | "stop";
    flows?: number;
  },
): Promise<number[]> {
  const takeOvers: number[] = [];
  for (let n = 0; n < times; n++) {
    const round = ++rounds;
    const names = Array.from({ length: flows }, (_, i) => `round-${round}-${i}`);
    await scene.flows(Object.fromEntries(names.map((name) => [name, scene.elected()])));
    const running = await scene.alive(names);
    // Anywhere between two signs of life.
    await new Promise((resolve) => setTimeout(resolve, chance() * scene.lease));
    const victim = scene.nodeOf(running[Math.floor(chance() * flows)]!);
    takeOvers.push(...await endNode(scene, victim, names, by));
    await Promise.all(names.map((name) => scene.dropFlow(name)));
    const fresh = await scene.start();
    await scene.members(scene.running.length, fresh);
  }
  return takeOvers;
}

/** Ends one node; milliseconds until each of the flows that it ran runs elsewhere. */
export async function endNode(
  scene: Scene,
  victim: Node,
  flows: readonly string[],
  by: "kill" | "stop",
): Promise<number[]> {
  const { journal } = scene;
  const owned = flows.filter((flow) => journal.latest(flow)?.pid === victim.pid);
  const elsewhere = owned.map((name) =>
    journal.next(
      ({ flow, pid }) => flow === name && pid !== victim.pid,
      PATIENCE,
      `${name} does not run again after ${by} of ${victim.name}`,
    )
  );
  const since = performance.now();
  const [attempts] = await Promise.all([Promise.all(elsewhere), victim[by]()]);
  return attempts.map((attempt: Attempt) => journal.startOf(attempt) - since);
}
