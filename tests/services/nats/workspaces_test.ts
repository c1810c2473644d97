/** Workspaces in NATS KV: the same promises, and what other tools write with their own clients. */
import assert from "node:assert/strict";
import { TestClock } from "../../../src/core/clock.ts";
import { openNatsKv } from "../../../src/store/nats_kv.ts";
import { StoreFlows, StoreResources } from "../../../src/workspace/store_flows.ts";
import { setUp, testWorkspaces, textsOf } from "../../../src/workspace/testing.ts";
import { client } from "./flows.ts";
import { endWithTests, startNats } from "./server.ts";

const server = await startNats();
endWithTests(server);

let buckets = 0;
const open = (bucket = `workspaces${++buckets}`) =>
  openNatsKv({ nats: { url: server.url }, bucket, history: 1, clock: new TestClock() });

testWorkspaces("nats_kv", () => open(), { switches: 200 });

Deno.test("what one node publishes another reads", async () => {
  await using one = await open("shared");
  await using other = await openNatsKv({
    nats: { url: server.url.replace("127.0.0.1", "localhost") },
    bucket: "shared",
    clock: new TestClock(),
  });
  await setUp(one).publish("1", { "flows/a.yaml": "one" });
  assert.deepEqual(await setUp(other).seen(), { "a.yaml": "one" });
  assert.equal((await setUp(other).publish("1", { "flows/a.yaml": "one" })).outcome, "unchanged");
});

Deno.test("flows and resources put by nats kv are read under their names", async () => {
  await using store = await open("flowgen_system");
  await using tool = await client(server.url);
  const { Kvm } = await import("@nats-io/kv");
  const bucket = await new Kvm(tool.connection).open("flowgen_system");
  await bucket.put("flows.demo/reader", "flow: {}");
  await bucket.put("resources.queries/x.sql", "select 1");
  const clock = new TestClock();
  const flows = await new StoreFlows({ store, prefix: "flows", clock }).read(null);
  assert.deepEqual(textsOf(flows), { "demo/reader.yaml": "flow: {}" });
  const resources = new StoreResources({ store, prefix: "resources", clock });
  const { bytes } = await resources.read("queries/x.sql");
  assert.equal(new TextDecoder().decode(bytes), "select 1");
});
