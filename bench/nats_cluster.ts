/** How soon flows of a node that ends run elsewhere, and what a node says when nothing happens. */
import { startNats } from "../tests/services/nats/server.ts";
import { endOwners } from "../tests/services/cluster/kills.ts";
import { Scene } from "../tests/services/cluster/scene.ts";
import { percentile } from "../tests/services/cluster/times.ts";
import { idleTraffic } from "./nats_idle.ts";
import type { Row } from "./row.ts";
import type { Report, Size } from "./suites.ts";

const NODES = 3;
/** Elected flows of each round; the victim has some of them. */
const FLOWS = 6;
const KILLS = 3;
const SHORT_KILLS = 5;
const STOPS = 4;

/**
 * Take-overs, and the traffic of an idle node with a server of its own meanwhile, since both are mostly
 * waiting. Kills are few: `deno task chaos kills` has the distribution.
 */
export async function benchCluster(size: Size): Promise<Report> {
  const idle = await idleTraffic(size);
  // It must not fail unheard while the kills go on, nor be left behind when they fail.
  idle.facts.catch(() => {});
  let rows: Row[];
  try {
    rows = [
      ...await takeOvers("6s", { kills: size(KILLS), goal: 8_000 }),
      ...await takeOvers("1.5s", { kills: size(SHORT_KILLS), goal: 2_000, stops: size(STOPS) }),
    ];
  } finally {
    await idle.facts;
  }
  return { rows, facts: await idle.facts };
}

async function takeOvers(
  lease: string,
  { kills, goal, stops = 0 }: { kills: number; goal: number; stops?: number },
): Promise<Row[]> {
  await using server = await startNats();
  await using scene = await Scene.open({ url: server.url, lease });
  await scene.startAll(NODES);
  await scene.members(NODES);
  const end = async (by: "kill" | "stop", times: number) =>
    await endOwners(scene, { times, chance: Math.random, by, flows: FLOWS });
  const row = (name: string, times: readonly number[], value: number): Row => ({
    name: `${name}, the latest of ${times.length} flows (p50 ${
      percentile(times, 0.5).toFixed(0)
    } ms)`,
    ours: percentile(times, 1),
    raw: NaN,
    unit: "ms",
    goal: { value },
  });
  const rows = [
    row(`owner killed → runs elsewhere, lease ${lease}`, await end("kill", kills), goal),
  ];
  if (stops > 0) {
    rows.push(row("owner ends in order → runs elsewhere", await end("stop", stops), 500));
  }
  scene.journal.check();
  return rows;
}
