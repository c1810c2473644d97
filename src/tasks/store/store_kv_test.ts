import assert from "node:assert/strict";
import { TestClock } from "../../core/clock.ts";
import type { Data, FlowEvent } from "../../flow/event.ts";
import { testCall, testContext, testEvent } from "../../flow/testing.ts";
import { MemoryStore } from "../../store/memory.ts";
import { findingsOf } from "../core/testing.ts";
import { storeKv } from "./store_kv.ts";

function world() {
  const clock = new TestClock();
  const runtimeStore = new MemoryStore({ clock });
  async function run(config: unknown, data: Data = {}, flow = "a/flow") {
    const context = testContext(storeKv, config, { clock, services: { runtimeStore } });
    const step = await storeKv.create({ ...context, flow });
    const event = testEvent(data, { meta: { tenant: "t" } });
    const out = await step(event, testCall(() => {})) as FlowEvent;
    assert.deepEqual([out.subject, out.meta], ["store_kv", event.meta]);
    return out.data;
  }
  return { clock, store: runtimeStore, run };
}

const get = (key: string, more: object = {}) => ({ operation: "get", key, ...more });
const put = (key: string, more: object = {}) => ({ operation: "put", key, ...more });

Deno.test("a value comes back as it was put: JSON of every kind", async () => {
  const { run } = world();
  for (const value of [{ a: [1, null] }, [1], "text", "", 7.5, true, null]) {
    assert.deepEqual(await run(put("k", { value })), { key: "k" });
    assert.deepEqual(await run(get("k")), { key: "k", value, found: true });
  }
});

Deno.test("a value that is null is told from one that is missing", async () => {
  const { run } = world();
  assert.deepEqual(await run(get("k")), { key: "k", value: null, found: false });
});

Deno.test("put writes the event's data when no value is given, and bytes come back as base64", async () => {
  const { run } = world();
  await run(put("k"), { id: 7 });
  assert.deepEqual(await run(get("k")), { key: "k", value: { id: 7 }, found: true });
  await run(put("k"), new Uint8Array([0xff, 0, 1]));
  assert.deepEqual(await run(get("k")), { key: "k", value: "/wAB", found: true });
});

Deno.test("key and value are templates", async () => {
  const { run } = world();
  const value = { id: "{{event.data.id}}" };
  await run(put("users/{{event.data.id}}", { value }), { id: 7 });
  assert.deepEqual(await run(get("users/7")), { key: "users/7", value: { id: 7 }, found: true });
});

Deno.test("create writes only where there is nothing", async () => {
  const { run } = world();
  const create = { operation: "create", key: "k" };
  assert.deepEqual(await run({ ...create, value: 1 }), { key: "k", created: true });
  assert.deepEqual(await run({ ...create, value: 2 }), { key: "k", created: false });
  assert.deepEqual(await run(get("k")), { key: "k", value: 1, found: true });
});

Deno.test("delete tells whether there was something", async () => {
  const { run } = world();
  await run(put("k"));
  const remove = { operation: "delete", key: "k" };
  assert.deepEqual(await run(remove), { key: "k", deleted: true });
  assert.deepEqual(await run(remove), { key: "k", deleted: false });
});

Deno.test("values of put and create go after their ttl", async () => {
  const { clock, run } = world();
  await run(put("a", { ttl: "1m" }));
  await run({ operation: "create", key: "b", ttl: "1m" });
  await run(put("c"));
  await clock.advance(60_000);
  assert.deepEqual(await run({ operation: "list" }), { keys: ["c"] });
});

Deno.test("list gives the keys that begin with its prefix, in order, wherever that ends", async () => {
  const { run } = world();
  for (const key of ["users/8", "users/7/name", "users/70", "other", "users"]) {
    await run(put(key, { value: key }));
  }
  const list = (prefix?: string) => run({ operation: "list", prefix });
  assert.deepEqual(await list(), {
    keys: ["other", "users", "users/7/name", "users/70", "users/8"],
  });
  assert.deepEqual(await list("users/"), { keys: ["users/7/name", "users/70", "users/8"] });
  assert.deepEqual(await list("users/7"), { keys: ["users/7/name", "users/70"] });
  assert.deepEqual(await list("u"), { keys: ["users", "users/7/name", "users/70", "users/8"] });
  assert.deepEqual(await run({ operation: "list", prefix: "users/7", values: true }), {
    entries: [
      { key: "users/7/name", value: "users/7/name" },
      { key: "users/70", value: "users/70" },
    ],
  });
});

Deno.test("flows do not see one another's keys, except shared ones", async () => {
  const { run } = world();
  await run(put("k", { value: 1 }), {}, "a");
  await run(put("k", { value: 2, scope: "shared" }), {}, "a");
  assert.deepEqual(await run(get("k"), {}, "b"), { key: "k", value: null, found: false });
  assert.deepEqual(await run(get("k", { scope: "shared" }), {}, "b"), {
    key: "k",
    value: 2,
    found: true,
  });
});

Deno.test("a key without a name for one of its parts is refused", async () => {
  const { run } = world();
  for (const key of ["", "/a", "a//b", "a/"]) {
    await assert.rejects(run(put("{{event.data}}"), key), {
      code: "event.key_invalid",
      message: `Cannot use "${key}" as a key`,
    });
  }
  await assert.rejects(run({ operation: "list", prefix: "a//b" }), { code: "event.key_invalid" });
});

Deno.test("a value that store_kv did not write is an error, not data", async () => {
  const { store, run } = world();
  for (const bytes of [[], [1], [2, 0x4a, 0x31], [1, 0x4a, 0x7b]]) {
    await store.put(["flow", "a/flow", "kv", "k"], new Uint8Array(bytes));
    await assert.rejects(run(get("k")), { code: "store.record_invalid" });
  }
});

Deno.test("store_kv refuses fields that its operation does not use", async () => {
  assert.deepEqual(await findingsOf(storeKv, { operation: "get", ttl: "1m", value: 1 }), [
    'config.unused_key "value" has no meaning with the operation "get"',
    'config.unused_key "ttl" has no meaning with the operation "get"',
    'config.missing_key Expected "key" for "get"',
  ]);
  assert.deepEqual(await findingsOf(storeKv, { operation: "list", key: "a" }), [
    'config.unused_key "key" has no meaning with the operation "list"',
  ]);
  assert.deepEqual(await findingsOf(storeKv, { operation: "list", values: false }), []);
});
