/** NATS that restarts, loses a leader, or is away. */
import assert from "node:assert/strict";
import { Folder } from "../../../src/cli/testing.ts";
import { startNats, startNatsCluster, until } from "../nats/server.ts";
import { freePorts } from "../ports.ts";
import { outage } from "./outages.ts";
import type { Node } from "./node.ts";
import { Population } from "./population.ts";
import { PATIENCE, Scene } from "./scene.ts";

const NODES = 3;
const LEASE = "1.5s";
/** Of config.yaml, behind what is tested. */
const FREE_PORTS = "http_server: { port: 0 }\nhealth: { port: 0 }\n";

Deno.test("a NATS that restarts, or is away for a minute, stops elected flows in time and no longer", async () => {
  await using server = await startNats({ sync: true });
  await using scene = await Scene.open({ url: server.url, lease: LEASE });
  await scene.startAll(NODES);
  const flows = await Population.in(scene);
  for (const [what, last] of [["restarted", 0], ["away for a minute", 60_000]] as const) {
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
  await waitsFor(node, `Cannot reach NATS at ${server.url}: connection refused`);
  await server.start();
  await node.up();
  assert.equal((await node.ready()).status, 200);
  await Population.in(scene);
});

Deno.test("a node that needs more NATS servers than are up waits for them", async () => {
  await using cluster = await startNatsCluster({ size: 2 });
  const { url } = cluster;
  await using scene = await Scene.open({ url, lease: LEASE, cache: { replicas: 3 } });
  const [healthPort] = freePorts(1);
  const node = await scene.spawn({ healthPort });
  await waitsFor(node, "Cannot open the bucket flowgen_system: no suitable peers for placement");
});

Deno.test("copies that a NATS server alone cannot keep are told at their line, and nothing starts", async () => {
  await using server = await startNats();
  await using folder = await Folder.with({
    "config.yaml": `cache:
  type: nats
  url: ${server.url}
  replicas: 3
${FREE_PORTS}`,
  });
  assert.deepEqual(await folder.flowgen(["run", "--text"]), {
    code: 78,
    stdout: "",
    stderr: `config.yaml:4:13 nats.no_cluster
Cannot open the bucket flowgen_system: replicas > 1 not supported in non-clustered mode
hint: set replicas to 1, or let the server be part of a cluster
`,
  });
});

Deno.test("credentials that NATS refuses are told at their line, without what is in them", async () => {
  const config = "authorization { user: ann, password: right }";
  await using server = await startNats({ config });
  const at = `Cannot log in to NATS at ${server.url}: the server`;
  const refused = async (cache: string) => {
    await using folder = await Folder.with({
      "config.yaml": `cache:\n  type: nats\n${cache}${FREE_PORTS}`,
      "nats.json": '{ "user": "ann", "password": "wrong" }',
    });
    const { code, stderr } = await folder.flowgen(["run", "--text"]);
    assert.equal(code, 78);
    return stderr;
  };
  assert.equal(
    await refused(`  url: ${server.url}\n  credentials_path: nats.json\n`),
    `config.yaml:4:21 nats.auth_failed\n${at} refuses user and password in nats.json\n`,
  );
  assert.equal(
    await refused(`  url: ann:wrong@${server.url}\n`),
    `config.yaml:3:8 nats.auth_failed\n${at} refuses user and password in the address\n`,
  );
  assert.equal(
    await refused(`  url: ${server.url}\n`),
    `config.yaml:3:8 nats.auth_failed\n${at} asks for credentials\n` +
      "hint: name a file that has them in credentials_path\n",
  );
});

/** Not ready, and says so with its reason. */
async function waitsFor(node: Node, reason: string): Promise<void> {
  let ready: Awaited<ReturnType<Node["ready"]>> | undefined;
  await until(
    async () => {
      ready = await node.ready().catch(() => undefined);
      return ready?.body.waiting === reason;
    },
    PATIENCE,
    "the node says what it waits for",
  ).catch(() => {});
  assert.deepEqual(ready, {
    status: 503,
    body: { status: "starting", waiting: reason, not_running: [] },
  });
}
