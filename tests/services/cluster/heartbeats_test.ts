/** What nodes with many flows write when nothing changes. */
import assert from "node:assert/strict";
import { connect } from "@nats-io/transport-node";
import { joinCluster } from "../../../src/cluster/join.ts";
import { systemClock } from "../../../src/core/clock.ts";
import { silentLog } from "../../../src/core/log.ts";
import { systemRandom } from "../../../src/core/random.ts";
import type { Candidate } from "../../../src/flow/cluster.ts";
import { openNatsKv } from "../../../src/store/nats_kv.ts";
import { startNats, until } from "../nats/server.ts";
import { PATIENCE } from "./scene.ts";

const FLOWS = 10_000;
const NODES = 3;
const LEASE = 6_000;
const RENEW = 2_000;
/** Renewals of each node that are counted. */
const COUNTED = 3;

const idle: Candidate = {
  start() {},
  drain: () => Promise.resolve(),
  lose: () => Promise.resolve(),
};

Deno.test("ten thousand flows cost each node one message per renewal", async () => {
  await using server = await startNats();
  const listener = await connect({ servers: server.url });
  await using stack = new AsyncDisposableStack();
  stack.defer(() => listener.close());
  const nodes = await Promise.all(Array.from({ length: NODES }, async (_, n) => {
    const store = stack.use(
      await openNatsKv({ nats: { url: server.url }, bucket: "flowgen_system", clock: systemClock }),
    );
    return stack.use(
      await joinCluster({
        store,
        clock: systemClock,
        random: systemRandom,
        log: silentLog,
        version: "test",
        host: "",
        lease: LEASE,
        renew: RENEW,
        newId: () => `node-${n}-${crypto.randomUUID()}`,
      }),
    );
  }));
  const names = Array.from({ length: FLOWS }, (_, i) => `team/flow-${i}`);
  for (const name of names) for (const node of nodes) node.stand(name, idle);
  const from = performance.now();
  const owned = () =>
    nodes.every((node) => {
      const { flows } = node.view();
      return flows.length === FLOWS && flows.every(({ owner }) => owner !== null);
    });
  await until(owned, PATIENCE, "all flows have an owner");
  console.log(`${FLOWS} flows claimed in ${((performance.now() - from) / 1_000).toFixed(1)} s`);

  const heard = new Map<string, number>();
  listener.subscribe("$KV.flowgen_system.>", {
    callback: (_error, { subject }) => void heard.set(subject, (heard.get(subject) ?? 0) + 1),
  });
  await listener.flush();
  const ids = nodes.map(({ nodeId }) => nodeId);
  const beats = () =>
    ids.map((id) => {
      const subject = [...heard.keys()].find((one) => one.includes(id));
      return subject === undefined ? 0 : heard.get(subject)!;
    });
  const sum = (counts: Iterable<number>) => [...counts].reduce((sum, count) => sum + count, 0);
  // Claims that lost, and flows that move for the sake of balance, come to an end.
  const settled = performance.now() + PATIENCE;
  let since: number;
  do {
    heard.clear();
    since = performance.now();
    const renewed = () => beats().every((count) => count >= COUNTED);
    await until(renewed, PATIENCE, "all nodes renew");
  } while (sum(heard.values()) !== sum(beats()) && performance.now() < settled);
  const total = sum(heard.values());
  console.log(`${total} messages for ${beats().join(", ")} renewals`);
  assert.equal(total, sum(beats()), [...heard.keys()].join());
  // One more each may have been due at the beginning, and one on its way; nodes need not be in step.
  const most = (performance.now() - since) / RENEW + 2;
  assert.ok(beats().every((count) => count <= most), `${beats().join(", ")} of at most ${most}`);
});
