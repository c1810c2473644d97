/** NATS that restarts, loses a leader, or is away. */
import assert from "node:assert/strict";
import { freePorts, startNats, startNatsCluster, until } from "../nats/server.ts";
import { outage } from "./outages.ts";
import { Population } from "./population.ts";
import { PATIENCE, Scene } from "./scene.ts";

const NODES = 3;
const LEASE = "1.5s";

Deno.test("a NATS that restarts, or is away for two leases, stops elected flows in time and no longer", async () => {
  await using server = await startNats({ sync: true });
  await using scene = await Scene.open({ url: server.url, lease: LEASE });
  await scene.startAll(NODES);
  const flows = await Population.in(scene);
  for (const [what, last] of [["restarted", 0], ["away for two leases", 2 * 1_500]] as const) {
    const { stopped, resumed, longest } = await outage(flows, {
      away: () => server.kill(),
      back: () => server.start(),
      last,
    });
    console.log(
      `NATS ${what}: last attempt after ${stopped.toFixed(0)} ms, ` +
        `all run ${resumed.toFixed(0)} ms after it was back, stood still ${longest.toFixed(0)} ms`,
    );
  }
  // What a node that comes later sees is what the others know.
  await flows.wellAgain(await scene.start());
});

Deno.test("a NATS of three servers goes on when the leader of the store is killed", async () => {
  await using cluster = await startNatsCluster({ sync: true });
  await using scene = await Scene.open({
    url: cluster.url,
    lease: LEASE,
    cache: { replicas: 3 },
  });
  await scene.startAll(NODES);
  const flows = await Population.in(scene);
  for (const bucket of ["KV_flowgen_system", "KV_flowgen_cache"]) {
    const leader = await cluster.streamLeader(bucket);
    const { resumed, longest } = await outage(flows, {
      away: () => leader.kill(),
      back: () => {},
      last: 0,
    });
    console.log(
      `leader of ${bucket} killed: all write ${resumed.toFixed(0)} ms later, ` +
        `stood still ${longest.toFixed(0)} ms`,
    );
    await leader.start();
    await cluster.ready();
  }
  await flows.wellAgain(scene.running[0]!);
});

Deno.test("a node that starts before its NATS says what it waits for, and goes on by itself", async () => {
  await using server = await startNats();
  await server.stop();
  await using scene = await Scene.open({ url: server.url, lease: LEASE });
  const [healthPort] = freePorts(1);
  const node = await scene.spawn({ healthPort });
  let ready: { status: number; body: Record<string, unknown> } | undefined;
  await until(
    async () => {
      ready = await node.ready().catch(() => undefined);
      return ready?.body.waiting !== undefined;
    },
    PATIENCE,
    "the node says what it waits for",
  );
  assert.deepEqual(ready, {
    status: 503,
    body: {
      status: "starting",
      waiting: `Cannot reach NATS at ${server.url}: connection refused`,
      not_running: [],
    },
  });
  await server.start();
  await node.up();
  assert.equal((await node.ready()).status, 200);
  await Population.in(scene);
});
