import assert from "node:assert/strict";
import { TestClock } from "../core/clock.ts";
import { MemoryStore } from "../store/memory.ts";
import { StoreFlows, StoreResources } from "./store_flows.ts";
import { textsOf } from "./testing.ts";

const bytes = (text: string) => new TextEncoder().encode(text);

function setUp() {
  const clock = new TestClock();
  const store = new MemoryStore({ clock });
  return {
    store,
    flows: new StoreFlows({ store, prefix: "flows", clock }),
    resources: new StoreResources({ store, prefix: "resources", clock }),
  };
}

Deno.test("flows that other tools wrote are read by identity, which has no extension", async () => {
  const { store, flows } = setUp();
  await store.put(["flows", "demo/reader"], bytes("flow: {}"));
  await store.put(["flows", "v1.2"], bytes("flow: {}"));
  await store.put(["other", "x"], bytes("no flow"));
  const snapshot = (await flows.read(null))!;
  assert.deepEqual(textsOf(snapshot), { "demo/reader.yaml": "flow: {}", "v1.2.yaml": "flow: {}" });
  assert.equal(snapshot.files.get("demo/reader.yaml")!.file, "flows.demo/reader");
});

Deno.test("nothing is given again until a key changes", async () => {
  const { store, flows } = setUp();
  await store.put(["flows", "a"], bytes("1"));
  const { version } = (await flows.read(null))!;
  assert.equal(await flows.read(version), null);
  await store.put(["flows", "a"], bytes("2"));
  const changed = (await flows.read(version))!;
  assert.deepEqual(textsOf(changed), { "a.yaml": "2" });
  await store.delete(["flows", "a"]);
  assert.equal((await flows.read(changed.version))!.files.size, 0);
});

Deno.test("what is no text is told by the file that asks for it", async () => {
  const { store, flows } = setUp();
  await store.put(["flows", "a"], new Uint8Array([0xff, 0xfe]));
  const snapshot = (await flows.read(null))!;
  assert.throws(() => snapshot.files.get("a.yaml")!.text(), {
    code: "source.not_text",
    message: "Cannot read flows.a as text",
  });
});

Deno.test("resources in the store are found by key, and keys stay below their prefix", async () => {
  const { store, resources } = setUp();
  await store.put(["resources", "queries/x.sql"], bytes("select 1"));
  const found = await resources.read("queries/x.sql");
  assert.deepEqual(found, { file: "resources.queries/x.sql", bytes: bytes("select 1") });
  await assert.rejects(resources.read("y.sql"), {
    code: "resource.missing",
    message: 'Cannot find the resource "y.sql" in the store',
  });
  await assert.rejects(resources.read("../x"), { code: "resource.key_invalid" });
});
