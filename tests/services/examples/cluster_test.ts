import assert from "node:assert/strict";
import { delimiter, dirname, join } from "node:path";
import type { ClusterView } from "../../../src/flow/cluster.ts";
import { NATS_SERVER } from "../nats/server.ts";
import { provide } from "../provision.ts";
import { Program } from "./program.ts";

const START = join(import.meta.dirname!, "../../../examples/cluster/start.ts");

Deno.test("the example of a cluster runs each flow where it says, also when a node is killed", async () => {
  const server = await provide(NATS_SERVER);
  const PATH = [dirname(server), Deno.env.get("PATH")].join(delimiter);
  await using program = new Program(["run", "--allow-all", START, "--free"], { PATH });
  const urls = await Promise.all([1, 2, 3].map(async (n) => {
    const [, last, cluster] = await program.line(
      new RegExp(`^node-${n} \\| (http://\\S+/export) +(http://\\S+/cluster)`),
    );
    return { name: `node-${n}`, last: last!, cluster: cluster! };
  }));
  const ownerOf = ({ flows }: ClusterView) => flows.find(({ flow }) => flow === "watch")?.owner;
  await program.json<ClusterView>(
    urls[0]!.cluster,
    (view) => view.nodes.length === 3 && !!ownerOf(view),
  );
  // Whichever node exported, all of them tell.
  for (const { last } of urls) {
    await program.json<{ value?: { rows: unknown[] } }>(
      last,
      ({ value }) => value?.rows.length === 1,
    );
  }
  // The epoch in the log is that of a claim, and the lines come from its owner alone.
  const epochOf = ({ flows }: ClusterView) => flows.find(({ flow }) => flow === "watch")?.epoch;
  let name = "";
  const view = await program.json<ClusterView>(urls[0]!.cluster, (view) => {
    const line = new RegExp(`^(node-\\d) \\| .*watch.*"epoch": ?${epochOf(view)}\\b`);
    name = program.has(line)?.[1] ?? "";
    return !!ownerOf(view) && name !== "";
  });
  const [, pid] = await program.line(new RegExp(`^${name} \\| process (\\d+)`));
  Deno.kill(Number(pid), "SIGKILL");
  const { cluster } = urls.find((one) => one.name !== name)!;
  await program.json<ClusterView>(
    cluster,
    (now) => !!ownerOf(now) && ownerOf(now) !== ownerOf(view) && now.nodes.length === 2,
  );
  assert.equal(await program.stop(), 0);
});
