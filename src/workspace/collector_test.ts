import assert from "node:assert/strict";
import { sha256Hex } from "../core/digest.ts";
import { silentLog } from "../core/log.ts";
import { blobKey, DELETED_AFTER } from "./blobs.ts";
import { collectAgain, collectBlobs } from "./collector.ts";
import { seededRandom } from "../core/random.ts";
import { setUp, snapshotOf } from "./testing.ts";

/** Eleven versions, so that nothing names the first one's blobs any more. */
async function withForgotten() {
  const given = setUp();
  for (let n = 0; n <= 10; n++) await given.publish(String(n), { "flows/a.yaml": `text ${n}` });
  const { store, clock } = given;
  return {
    ...given,
    forgotten: blobKey("demo", await sha256Hex("text 0")),
    collect: () => collectBlobs({ store, clock, log: silentLog }),
  };
}

Deno.test("what no manifest names is deleted when it is older than an hour", async () => {
  const { store, clock, forgotten, collect, workspaces, seen } = await withForgotten();
  await clock.advance(DELETED_AFTER);
  assert.equal(await collect(), 0, "not before");
  await clock.advance(1);
  assert.equal(await collect(), 2, "the file and its list");
  assert.equal(await store.get(forgotten), null);
  assert.deepEqual(await seen(), { "a.yaml": "text 10" });
  assert.equal((await workspaces.rollback("demo", "1")).active, "1");
  assert.deepEqual(await seen(), { "a.yaml": "text 1" });
});

Deno.test("what a publisher took up after it was listed stays", async () => {
  const { store, clock, forgotten, collect, publisher, seen } = await withForgotten();
  await clock.advance(DELETED_AFTER + 1);
  // The manifests were read already when the publisher comes.
  store.once((operation, key) => operation === "delete" && key[2] === forgotten[2], () => {
    return publisher().publish("demo", snapshotOf("new", { "flows/a.yaml": "text 0" }));
  });
  await collect();
  assert.deepEqual(await seen(), { "a.yaml": "text 0" });
});

Deno.test("a collector that was suspended does not take young blobs for old ones", async () => {
  const { store, clock, collect, publish } = setUpWithUnnamed();
  await publish("1", { "flows/a.yaml": "one" });
  const young = blobKey("demo", await sha256Hex("unnamed"));
  await store.put(young, (await store.get(blobKey("demo", await sha256Hex("one"))))!.value);
  store.once((operation) => operation === "list", () => clock.advance(2 * DELETED_AFTER));
  await collect();
  assert.notEqual(await store.get(young), null);
});

function setUpWithUnnamed() {
  const given = setUp();
  const { store, clock } = given;
  return { ...given, collect: () => collectBlobs({ store, clock, log: silentLog }) };
}

Deno.test("nothing is deleted of a workspace that cannot be read", async () => {
  const { store, clock, publish, collect } = setUpWithUnnamed();
  await publish("1", { "flows/a.yaml": "one" });
  const list = await listDigest(store);
  await store.delete(blobKey("demo", list));
  await clock.advance(DELETED_AFTER + 1);
  assert.equal(await collect(), 0);
  await store.put(["workspaces", "demo"], new TextEncoder().encode('{"v":9}'));
  assert.equal(await collect(), 0);
  assert.notEqual(await store.get(blobKey("demo", await sha256Hex("one"))), null);
});

async function listDigest(store: ReturnType<typeof setUp>["store"]): Promise<string> {
  const { value } = (await store.get(["workspaces", "demo"]))!;
  return JSON.parse(new TextDecoder().decode(value)).versions[0].list;
}

Deno.test("what a publisher left behind that never switched goes after an hour", async () => {
  const { store, clock, publish, collect } = setUpWithUnnamed();
  store.once((operation) => operation === "create", () => {
    throw new Error("the power went out");
  });
  await assert.rejects(publish("1", { "flows/a.yaml": "one" }));
  await clock.advance(DELETED_AFTER + 1);
  assert.equal(await collect(), 2);
  assert.deepEqual(await Array.fromAsync(store.list([])), []);
});

Deno.test("the first node for it collects, about once an hour", async () => {
  const { store, clock } = setUp();
  let rank = 1;
  let lists = 0;
  store.hook = (operation) => void (operation === "list" && lists++);
  const ended = new AbortController();
  const loop = collectAgain({
    store,
    clock,
    log: silentLog,
    random: seededRandom(1),
    cluster: { rank: () => rank },
    signal: ended.signal,
  });
  await clock.advance(10 * DELETED_AFTER);
  assert.equal(lists, 0);
  rank = 0;
  await clock.advance(10 * DELETED_AFTER);
  assert.ok(lists >= 6 && lists <= 20, `${lists} collections in ten hours`);
  ended.abort();
  await loop;
});
