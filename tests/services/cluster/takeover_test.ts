/** Who runs what, and how soon somebody else does when a node ends. */
import assert from "node:assert/strict";
import { seededRandom } from "../../../src/core/random.ts";
import { startNats } from "../nats/server.ts";
import { endNode, endOwners } from "./kills.ts";
import { PATIENCE, Scene } from "./scene.ts";
import { shares } from "./shares.ts";
import { distribution, percentile } from "./times.ts";

const FLOWS = 50;
const NODES = 3;
/** Share by which a node may be off the even share. */
const UNEVEN = 0.4;
/** Figures are ceilings only, five times what is promised. */
const CEILING = 5;

Deno.test("three nodes share fifty elected flows, and a killed node's flows go on elsewhere", async () => {
  await using server = await startNats();
  await using scene = await Scene.open({ url: server.url });
  const names = Array.from({ length: FLOWS }, (_, i) => `flow-${i}`);
  const text = scene.elected({ every: "200ms" });
  await scene.flows(Object.fromEntries(names.map((name) => [name, text])));
  const first = await scene.start();
  await scene.alive(names);
  // Those who come later get their share, flow by flow.
  const [victim] = await scene.startAll(NODES - 1);
  await scene.members(NODES, victim);
  const from = performance.now();
  const even = FLOWS / NODES;
  for (const node of [first, victim!]) {
    await scene.seen(
      (view) =>
        view.flows.every(({ owner, next }) => owner !== null && next === null) &&
        shares(view).every((count) => Math.abs(count - even) <= UNEVEN * even),
      node,
    );
  }
  console.log(
    `shares ${shares(await victim!.view()).join(", ")} ` +
      `after ${((performance.now() - from) / 1_000).toFixed(1)} s`,
  );
  // Each flow is run by the node that the claims name.
  await scene.seen(({ flows }) =>
    flows.every(({ flow, owner, epoch }) => {
      const attempt = scene.journal.latest(flow);
      return attempt?.node === owner && attempt.epoch === epoch;
    })
  );
  const times = await endNode(scene, victim!, names, "kill");
  assert.ok(times.length > 0);
  console.log(distribution("flows of a killed node run elsewhere, lease 6 s", times));
  assert.ok(percentile(times, 1) < CEILING * 8_000);
  scene.journal.check();
});

Deno.test("who ends in order does not let the others wait for a lease", async () => {
  await using server = await startNats();
  await using scene = await Scene.open({ url: server.url, lease: `${10 * PATIENCE}ms` });
  const names = Array.from({ length: FLOWS }, (_, i) => `flow-${i}`);
  const text = scene.elected({ every: "200ms" });
  await scene.flows(Object.fromEntries(names.map((name) => [name, text])));
  const first = await scene.start();
  await scene.alive(names);
  await scene.start();
  await scene.members(2, first);
  const released = await endNode(scene, first, names, "stop");
  assert.ok(released.length > 0);
  console.log(distribution("flows of a node that ends in order run elsewhere", released));
  scene.journal.check();
});

Deno.test("a flow goes on elsewhere at whichever moment its owner is killed", async () => {
  const seed = Math.floor(Math.random() * 2 ** 32);
  console.log(`seed ${seed}`);
  const random = seededRandom(seed);
  const chance = () => random.next();
  await using server = await startNats();
  await using scene = await Scene.open({ url: server.url, lease: "1.5s" });
  await scene.startAll(NODES);
  await scene.members(NODES, scene.nodes[0], PATIENCE);
  const killed = await endOwners(scene, { times: 50, chance, by: "kill" });
  console.log(distribution("killed, runs elsewhere, lease 1.5 s", killed));
  assert.ok(percentile(killed, 1) < CEILING * 3_500);
  scene.journal.check();
});
