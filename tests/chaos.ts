/**
 * `deno task chaos [scenario …] [--seed=n]`: the faults of tests/services/cluster, longer and more of
 * them; all scenarios when none is named. Prints times, and exits with 1 when a promise was broken.
 *
 * `partition` needs root and iproute2, `clocks` libfaketime (Debian: `apt-get install libfaketime`).
 */
import { seededRandom } from "../src/core/random.ts";
import { type NatsServerOptions, startNats, startNatsCluster } from "./services/nats/server.ts";
import { fakedClock } from "./services/cluster/faketime.ts";
import { type Chance, endOwners } from "./services/cluster/kills.ts";
import { Link } from "./services/cluster/link.ts";
import { outage } from "./services/cluster/outages.ts";
import { partAgainAndAgain, PartedScene } from "./services/cluster/partition.ts";
import { Population } from "./services/cluster/population.ts";
import { pipeline } from "./services/cluster/pipeline.ts";
import { Scene } from "./services/cluster/scene.ts";
import { distribution } from "./services/cluster/times.ts";

const NODES = 3;
const SYNC: NatsServerOptions = { sync: true };

const SCENARIOS: Readonly<Record<string, (chance: Chance) => Promise<void>>> = {
  kills,
  pauses,
  links,
  clocks,
  outages,
  leaders,
  pipelines,
  partition,
};

/** Owners are killed, and end in order, at any moment. */
async function kills(chance: Chance): Promise<void> {
  for (const lease of ["1.5s", "6s"]) {
    await using server = await startNats();
    await using scene = await Scene.open({ url: server.url, lease });
    await scene.startAll(NODES);
    const killed = await endOwners(scene, { times: 100, chance, by: "kill" });
    console.log(distribution(`lease ${lease}, kill -9`, killed));
    const stopped = await endOwners(scene, { times: 10, chance, by: "stop" });
    console.log(distribution(`lease ${lease}, SIGTERM`, stopped));
    scene.journal.check();
  }
}

/** Owners stand still for as long as it takes to be taken for gone, or a little less. */
async function pauses(chance: Chance): Promise<void> {
  await using server = await startNats();
  await using scene = await Scene.open({ url: server.url, lease: "1.5s" });
  await scene.startAll(NODES);
  const flows = await Population.in(scene);
  for (let n = 0; n < 30; n++) {
    await flows.renew();
    const { owner, held } = await flows.ownerAboutToWrite();
    owner.pause();
    await wait(scene.lease * (0.3 + 2.7 * chance()));
    owner.resume();
    held.release();
    await flows.wellAgain(owner);
  }
  console.log(`pauses: ${scene.journal.total} attempts, none at once with another`);
}

/** Connections of single nodes are cut, silenced and slowed down. */
async function links(chance: Chance): Promise<void> {
  await using server = await startNats();
  await using stack = new AsyncDisposableStack();
  await using scene = await Scene.open({ url: server.url, lease: "1.5s" });
  const linkOf = new Map<number, Link>();
  for (let n = 0; n < NODES; n++) {
    const link = stack.use(new Link(server.port));
    linkOf.set((await scene.start({ url: link.url })).pid, link);
  }
  const flows = await Population.in(scene);
  for (let n = 0; n < 40; n++) {
    await flows.renew();
    const { owner, held } = await flows.ownerAboutToWrite();
    const link = linkOf.get(owner.pid)!;
    const from = performance.now();
    const way = ["cut", "silence", "lag"][n % 3]!;
    if (way === "lag") {
      for (const one of linkOf.values()) one.lag = scene.lease * 0.8 * chance();
      held.release();
      await wait(3 * scene.lease);
      for (const one of linkOf.values()) one.lag = 0;
    } else {
      if (way === "cut") link.cut();
      else link.silence();
      await flows.takenOver(owner, from);
      link.open();
      await flows.refused(held);
    }
    await flows.wellAgain(owner);
  }
  console.log(`links: ${scene.journal.total} attempts, none at once with another`);
}

/** The machine's clock is stepped under the feet of a whole process. */
async function clocks(chance: Chance): Promise<void> {
  await using server = await startNats();
  await using stack = new AsyncDisposableStack();
  await using scene = await Scene.open({ url: server.url, lease: "1.5s" });
  const clockOf = new Map<number, (seconds: number) => Promise<void>>();
  for (let n = 0; n < NODES; n++) {
    const clock = stack.use(await fakedClock());
    clockOf.set((await scene.start({ env: clock.env })).pid, clock.step);
  }
  const flows = await Population.in(scene);
  for (let n = 0; n < 30; n++) {
    await flows.renew();
    const { owner, held } = await flows.ownerAboutToWrite();
    await clockOf.get(owner.pid)!(Math.round(10 ** (5 * chance())) * (chance() < 0.5 ? -1 : 1));
    held.release();
    await wait(scene.lease * chance());
    await flows.wellAgain(owner);
  }
  console.log(`clocks: ${scene.journal.total} attempts, none at once with another`);
}

/** NATS is killed, stopped, paused and away for up to a minute. */
async function outages(chance: Chance): Promise<void> {
  for (const lease of ["1.5s", "6s"]) {
    await using server = await startNats(SYNC);
    await using scene = await Scene.open({ url: server.url, lease });
    await scene.startAll(NODES);
    const flows = await Population.in(scene);
    const resumed: number[] = [];
    for (let n = 0; n < 12; n++) {
      const last = n === 11 ? 60_000 : scene.lease * 3 * chance();
      await flows.renew();
      const { away, back } = [
        { away: () => server.kill(), back: () => server.start() },
        { away: () => server.stop(), back: () => server.start() },
        { away: () => server.pause(), back: () => server.resume() },
      ][n % 3]!;
      const one = await outage(flows, { away, back, last });
      resumed.push(one.resumed);
    }
    console.log(distribution(`lease ${lease}, NATS back to all flows writing`, resumed));
  }
}

/** Leaders of a NATS of three are killed. */
async function leaders(chance: Chance): Promise<void> {
  for (const lease of ["1.5s", "6s"]) {
    await using cluster = await startNatsCluster(SYNC);
    await using scene = await Scene.open({ url: cluster.url, lease, cache: { replicas: 3 } });
    await scene.startAll(NODES);
    const flows = await Population.in(scene);
    const longest: number[] = [];
    for (let n = 0; n < 12; n++) {
      const bucket = chance() < 0.5 ? "KV_flowgen_system" : "KV_flowgen_cache";
      await flows.renew();
      const leader = await cluster.streamLeader(bucket);
      const away = () => leader.kill();
      const one = await outage(flows, { away, back: () => {}, last: 0 });
      longest.push(one.longest);
      await leader.start();
      await cluster.ready();
    }
    console.log(distribution(`lease ${lease}, leader killed, flows stood still`, longest));
  }
}

/** Three hundred thousand messages, while everything is killed. */
async function pipelines(chance: Chance): Promise<void> {
  await using server = await startNats(SYNC);
  await using scene = await Scene.open({ url: server.url });
  const result = await pipeline(scene, server, {
    messages: 300_000,
    every: 2_000,
    mostKills: 200,
    chance,
    replicas: NODES,
  });
  console.log(`pipelines: ${JSON.stringify(result)}`);
}

/** The network is parted. */
async function partition(chance: Chance): Promise<void> {
  for (const lease of ["1.5s", "6s"]) {
    await using parted = await PartedScene.open(lease);
    const took = await partAgainAndAgain(parted, { times: 24, chance });
    console.log(distribution(`lease ${lease}, healed to all well`, took));
  }
}

function wait(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

const named = Deno.args.filter((arg) => !arg.startsWith("--"));
const unknown = named.filter((name) => !(name in SCENARIOS));
if (unknown.length > 0) {
  console.error(`Unknown ${unknown.join(", ")}: one of ${Object.keys(SCENARIOS).join(", ")}`);
  Deno.exit(2);
}
const given = Deno.args.find((arg) => arg.startsWith("--seed="));
const seed = given ? Number(given.slice("--seed=".length)) : Math.floor(Math.random() * 2 ** 32);
const broken: string[] = [];
for (const name of named.length > 0 ? named : Object.keys(SCENARIOS)) {
  const random = seededRandom(seed);
  const from = performance.now();
  console.log(`\n${name}, seed ${seed}`);
  try {
    await SCENARIOS[name]!(() => random.next());
  } catch (cause) {
    console.error(cause);
    broken.push(name);
  }
  console.log(`${name} took ${((performance.now() - from) / 1_000).toFixed(0)} s`);
}
console.log(broken.length > 0 ? `\nbroken: ${broken.join(", ")}` : "\nall promises were kept");
Deno.exit(broken.length > 0 ? 1 : 0);
