import assert from "node:assert/strict";
import { FlowError } from "../core/errors.ts";
import { blobKey, DELETED_AFTER, REWRITTEN_AFTER } from "./blobs.ts";
import { collectBlobs } from "./collector.ts";
import { silentLog } from "../core/log.ts";
import { sha256Hex } from "../core/digest.ts";
import { checkByText, setUp, snapshotOf } from "./testing.ts";
import { StoreWorkspaces } from "./workspaces.ts";

const good = { "flows/a.yaml": "one", "flows/b.yaml": "two" };
const bad = { "flows/a.yaml": "one, changed", "flows/b.yaml": "broken" };

Deno.test("a version with a broken flow is kept but not live, and its finding has a place", async () => {
  const { publish, workspaces, seen } = setUp();
  await publish("1", good);
  const rejected = await publish("2", bad);
  assert.deepEqual([rejected.outcome, rejected.active], ["rejected", "1"]);
  assert.deepEqual(rejected.findings, [{
    code: "config.unknown_key",
    message: "It is broken",
    position: { file: "demo:flows/b.yaml", line: 3, column: 7 },
  }]);
  assert.deepEqual(await seen(), { "a.yaml": "one", "b.yaml": "two" });
  const [view] = await workspaces.list();
  assert.equal(view!.active, "1");
  assert.deepEqual(view!.versions.map(({ version, state }) => [version, state]), [
    ["2", "rejected"],
    ["1", "active"],
  ]);
  assert.deepEqual(view!.versions[0]!.findings, rejected.findings);
  assert.deepEqual((await workspaces.position("demo")).findings, rejected.findings);
});

Deno.test("with activate: each a version goes live although a flow of it is broken", async () => {
  const { publish, seen } = setUp();
  await publish("1", good);
  const published = await publish("2", bad, { activate: "each" });
  assert.deepEqual([published.outcome, published.active], ["activated", "2"]);
  assert.equal(published.findings.length, 1);
  assert.equal((await seen())["a.yaml"], "one, changed");
});

Deno.test("a rejected version is held until a newer one comes, and is not checked again", async () => {
  const { publish, workspaces } = setUp();
  await publish("1", good);
  await publish("2", bad);
  const held = await publish("2", bad);
  assert.deepEqual([held.outcome, held.active, held.findings.length], ["held", "1", 1]);
  assert.equal((await publish("3", good)).active, "3");
  assert.equal((await publish("2", bad)).outcome, "held");
  assert.equal((await workspaces.list())[0]!.active, "3");
});

Deno.test("a version that was rolled back is held until a newer one comes", async () => {
  const { publish, workspaces, seen } = setUp();
  await publish("1", good);
  await publish("2", { "flows/a.yaml": "harmful" });
  await workspaces.rollback("demo");
  const again = await publish("2", { "flows/a.yaml": "harmful" });
  assert.deepEqual([again.outcome, again.active], ["held", "1"]);
  assert.deepEqual(await seen(), { "a.yaml": "one", "b.yaml": "two" });
  assert.equal((await publish("3", { "flows/a.yaml": "mended" })).active, "3");
  // A mirror that lags behind gives the harmful one once more.
  assert.equal((await publish("2", { "flows/a.yaml": "harmful" })).outcome, "held");
});

Deno.test("a version that was rolled back does not come again under another prefix", async () => {
  const { publish, workspaces, seen } = setUp();
  await publish("1", good);
  await publish("2", { "flows/a.yaml": "harmful" });
  await workspaces.rollback("demo");
  const again = await publish("2", { "flows/a.yaml": "harmful" }, { prefix: "team" });
  assert.deepEqual([again.outcome, again.active], ["held", "1"]);
  assert.deepEqual(await seen(), { "a.yaml": "one", "b.yaml": "two" });
  const forced = await publish("2", { "flows/a.yaml": "harmful" }, { prefix: "team", force: true });
  assert.deepEqual([forced.outcome, forced.active], ["activated", "2"]);
});

Deno.test("force makes a held version live, after another check", async () => {
  const { publish, workspaces } = setUp();
  await publish("1", good);
  await publish("2", { "flows/a.yaml": "two" });
  await workspaces.rollback("demo");
  const forced = await publish("2", { "flows/a.yaml": "two" }, { force: true });
  assert.deepEqual([forced.outcome, forced.active], ["activated", "2"]);
  await publish("3", bad);
  const stillBad = await publish("3", bad, { force: true });
  assert.deepEqual([stillBad.outcome, stillBad.active], ["rejected", "2"]);
});

Deno.test("force on what is live leaves it live when it is found broken now", async () => {
  const { publish, seen } = setUp();
  await publish("1", bad, { activate: "each" });
  const again = await publish("1", bad, { force: true });
  assert.deepEqual([again.outcome, again.active], ["rejected", "1"]);
  assert.equal((await seen())["a.yaml"], "one, changed");
});

Deno.test("a version that is live is not replaced by a broken one of the same name", async () => {
  const { publish, seen } = setUp();
  await publish("1", good);
  const other = await publish("1", bad);
  assert.deepEqual([other.outcome, other.active], ["rejected", "1"]);
  assert.deepEqual(await seen(), { "a.yaml": "one", "b.yaml": "two" });
});

Deno.test("a rejection that is not stored is told once, however often it is found", async () => {
  const { store, clock, publish } = setUp();
  const told: string[] = [];
  const log = { ...silentLog, error: (message: string) => void told.push(message) };
  const check = checkByText;
  const workspaces = new StoreWorkspaces({ store, clock, log, check });
  await publish("1", good);
  // What is live is broken under another prefix, say; each poll brings it anew.
  for (let poll = 0; poll < 3; poll++) {
    const again = await workspaces.publish("demo", snapshotOf("1", bad), { prefix: "team" });
    assert.deepEqual([again.outcome, again.active], ["rejected", "1"]);
  }
  assert.deepEqual(told, ["A version was rejected, the one before runs on"]);
  await workspaces.publish("demo", snapshotOf("2", good));
  await workspaces.publish("demo", snapshotOf("3", bad));
  await workspaces.publish("demo", snapshotOf("4", bad));
  assert.equal(told.length, 3);
});

Deno.test("what a source left out is told with the version that lacks it, and once", async () => {
  const { store, clock } = setUp();
  const told: unknown[] = [];
  const warning = (...said: unknown[]) => void told.push(said);
  const log = { ...silentLog, warning };
  const workspaces = new StoreWorkspaces({ store, clock, log, check: checkByText });
  const error = new FlowError("source.link_skipped", 'The symbolic links "x" are left out');
  for (const [version, files] of [["1", good], ["1", good], ["2", bad]] as const) {
    await workspaces.publish("demo", snapshotOf(version, files, [{ error }]));
  }
  assert.deepEqual(
    told,
    ["1", "2"].map((version) => [
      'The symbolic links "x" are left out',
      { workspace: "demo", version },
    ]),
  );
});

Deno.test("of very many findings twenty are stored", async () => {
  const { publish, workspaces } = setUp();
  const files = Object.fromEntries(
    Array.from({ length: 25 }, (_, n) => [`flows/f${n}.yaml`, "broken"]),
  );
  assert.equal((await publish("1", files)).findings.length, 20);
  assert.equal((await workspaces.list())[0]!.versions[0]!.findings.length, 20);
});

Deno.test("publishing what is live changes nothing", async () => {
  const { publish, store } = setUp();
  await publish("1", good);
  const writes: string[] = [];
  store.hook = (operation) => void (/get|list/.test(operation) || writes.push(operation));
  const again = await publish("1", good);
  assert.deepEqual([again.outcome, again.active], ["unchanged", "1"]);
  assert.deepEqual(writes, []);
});

Deno.test("a version that was replaced goes live again when its source goes back to it", async () => {
  const { publish, workspaces } = setUp();
  await publish("1", good);
  await publish("2", { "flows/a.yaml": "two" });
  assert.equal((await publish("1", good)).outcome, "activated");
  const [view] = await workspaces.list();
  assert.deepEqual(view!.versions.map(({ version }) => version), ["1", "2"]);
});

Deno.test("another prefix is other content of the same version", async () => {
  const { publish, seen, workspaces } = setUp();
  await publish("1", good);
  assert.equal((await publish("1", good, { prefix: "team" })).outcome, "activated");
  assert.deepEqual(Object.keys(await seen()), ["team/a.yaml", "team/b.yaml"]);
  assert.equal((await workspaces.position("demo")).prefix, "team");
});

Deno.test("all files of a version are there before the manifest names it", async () => {
  const { publish, store } = setUp();
  let stored = 0;
  store.once((operation, key) => operation === "create" && key[0] === "workspaces", async () => {
    stored = (await Array.fromAsync(store.inner.list(["blobs", "demo"]))).length;
  });
  await publish("1", good);
  assert.equal(stored, 3, "two files and their list");
});

Deno.test("who loses the race looks at what the winner left", async () => {
  const { store, publish, publisher, workspaces } = setUp();
  await publish("1", good);
  const isSwitch = (operation: string, key: readonly string[]) =>
    operation === "update" && key[0] === "workspaces";
  store.once(isSwitch, () => publisher().publish("demo", snapshotOf("2", { "flows/a.yaml": "2" })));
  const second = await publish("3", { "flows/a.yaml": "3" });
  assert.deepEqual([second.outcome, second.active], ["activated", "3"]);
  const [view] = await workspaces.list();
  assert.deepEqual(view!.versions.map(({ version }) => version), ["3", "2", "1"]);
});

Deno.test("a rollback that wins against a publisher of the same version holds it", async () => {
  const { store, publish, publisher, workspaces } = setUp();
  await publish("1", good);
  await publish("2", { "flows/a.yaml": "2" });
  await publish("1", good);
  store.once((operation, key) => operation === "update" && key[0] === "workspaces", async () => {
    await publisher().publish("demo", snapshotOf("2", { "flows/a.yaml": "2" }));
    await publisher().rollback("demo", "1");
  });
  const late = await publish("2", { "flows/a.yaml": "2" });
  assert.deepEqual([late.outcome, late.active], ["held", "1"]);
  assert.equal((await workspaces.list())[0]!.active, "1");
});

Deno.test("what was read before something else was published is left alone", async () => {
  const { publish, workspaces } = setUp();
  await publish("1", good);
  const { published: since } = await workspaces.position("demo");
  await publish("2", { "flows/a.yaml": "2" });
  const late = await publish("0", { "flows/a.yaml": "old" }, { since });
  assert.deepEqual([late.outcome, late.active], ["stale", "2"]);
  const same = await publish("2", { "flows/a.yaml": "2" }, { since });
  assert.deepEqual([same.outcome, same.active], ["unchanged", "2"], "another replica was faster");
});

Deno.test("a rollback does not make a newer version that is being read stale", async () => {
  const { publish, workspaces } = setUp();
  await publish("1", good);
  await publish("2", { "flows/a.yaml": "2" });
  const { published: since } = await workspaces.position("demo");
  await workspaces.rollback("demo");
  assert.equal((await publish("3", { "flows/a.yaml": "3" }, { since })).outcome, "activated");
});

Deno.test("the last ten versions stay, and the live one whatever comes", async () => {
  const { publish, workspaces } = setUp();
  for (let n = 1; n <= 12; n++) await publish(String(n), { "flows/a.yaml": String(n) });
  let [view] = await workspaces.list();
  assert.deepEqual(
    view!.versions.map(({ version }) => version),
    ["12", "11", "10", "9", "8", "7", "6", "5", "4", "3"],
  );
  await workspaces.rollback("demo", "3");
  for (let n = 13; n <= 25; n++) await publish(String(n), { "flows/a.yaml": `broken ${n}` });
  [view] = await workspaces.list();
  assert.equal(view!.active, "3");
  assert.equal(view!.versions.filter(({ state }) => state === "rejected").length, 10);
  assert.equal(view!.versions.filter(({ state }) => state === "rolled_back").length, 1);
  assert.equal(view!.versions.filter(({ state }) => state === "kept").length, 8);
});

Deno.test("names and paths that could lead elsewhere are refused before anything is written", async () => {
  const { workspaces, publish, store } = setUp();
  store.hook = (operation) => assert.fail(`${operation} was called`);
  await assert.rejects(workspaces.publish("../x", snapshotOf("1", good)), {
    code: "workspace.name_invalid",
    message: 'Cannot name a workspace "../x"',
  });
  for (const path of ["../a.yaml", "/etc/x", "a\\b", "a//b", "a/./b", "", "C:/x", "a\0b"]) {
    await assert.rejects(publish("1", { [path]: "x" }), { code: "workspace.path_invalid" }, path);
  }
});

Deno.test("a file that the source could not give rejects the version", async () => {
  const { workspaces, clock, store } = setUp();
  const { StoreWorkspaces } = await import("./workspaces.ts");
  const problems = [{ identity: "flows/x", error: new FlowError("source.too_large", "Too large") }];
  const seen: unknown[] = [];
  const checking = new StoreWorkspaces({
    store,
    clock,
    log: silentLog,
    check: (_name, flows) => {
      seen.push(...flows.problems);
      return Promise.resolve([]);
    },
  });
  await checking.publish("demo", snapshotOf("1", good, problems), { prefix: "team" });
  assert.deepEqual(seen, [{ identity: "team/x", error: problems[0]!.error }]);
  assert.equal((await workspaces.position("demo")).latest, "1");
});

for (const who of ["the publisher that wrote it", "another publisher"]) {
  Deno.test(`${who} writes again what it reuses and is older than half an hour`, async () => {
    const { workspaces, publish, publisher, store, clock, seen } = setUp();
    await publish("0", { "flows/a.yaml": "shared" });
    // Ten others push it out of the manifest, so that nothing names its blob.
    for (let n = 1; n <= 10; n++) await publish(String(n), { "flows/a.yaml": `${n}` });
    await clock.advance(REWRITTEN_AFTER + 1);
    // A collector that listed the blob just before it was taken up deletes it just after.
    const key = blobKey("demo", await sha256Hex("shared"));
    const listed = (await store.inner.get(key))!;
    const again = who === "another publisher" ? publisher() : workspaces;
    await again.publish("demo", snapshotOf("11", { "flows/a.yaml": "shared" }));
    assert.equal(await store.inner.delete(key, listed.revision), false);
    await clock.advance(DELETED_AFTER - REWRITTEN_AFTER);
    await collectBlobs({ store, clock, log: silentLog });
    assert.deepEqual(await seen(), { "a.yaml": "shared" });
  });
}

Deno.test("young blobs are not written again", async () => {
  const { publish, publisher, store, clock } = setUp();
  await publish("1", good);
  await clock.advance(REWRITTEN_AFTER);
  const written: string[] = [];
  store.hook = (operation, key) => void (operation === "put" && written.push(key.join("/")));
  // Also by one who has to look at them first.
  await publisher().publish("demo", snapshotOf("2", { ...good, "flows/c.yaml": "new" }));
  assert.equal(written.length, 2, "the new file and the list");
});

Deno.test("a publisher that was suspended before it switched brings its blobs back", async () => {
  const { publish, store, clock, seen } = setUp();
  store.once((operation, key) => operation === "create" && key[0] === "workspaces", async () => {
    await clock.advance(2 * DELETED_AFTER);
    await collectBlobs({ store: store.inner, clock, log: silentLog });
  });
  await publish("1", good);
  assert.deepEqual(await seen(), { "a.yaml": "one", "b.yaml": "two" });
});

Deno.test("what a store lost comes back with force, or with the first version after", async () => {
  const { publish, store, seen } = setUp();
  const lose = async (room: string) => {
    for await (const { key } of store.list([room])) await store.delete(key);
  };
  await publish("1", good);
  await lose("blobs");
  await assert.rejects(seen(), { code: "workspace.blob_missing" });
  await publish("1", good, { force: true });
  assert.deepEqual(await seen(), { "a.yaml": "one", "b.yaml": "two" });
  await lose("blobs");
  await lose("workspaces");
  await publish("1", good);
  assert.deepEqual(await seen(), { "a.yaml": "one", "b.yaml": "two" });
});
