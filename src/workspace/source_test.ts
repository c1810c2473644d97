import assert from "node:assert/strict";
import { sha256Hex } from "../core/digest.ts";
import { silentLog } from "../core/log.ts";
import { blobKey, DELETED_AFTER } from "./blobs.ts";
import { collectBlobs } from "./collector.ts";
import { setUp, textsOf } from "./testing.ts";

/** A commit of 50 files, all of which say which commit they belong to. */
const commit = (n: number) =>
  Object.fromEntries(
    Array.from({ length: 50 }, (_, file) => [`flows/f${file}.yaml`, `commit ${n}, file ${file}`]),
  );

Deno.test("a reader that misses a file starts again from the manifest", async () => {
  const { publish, store, reader } = setUp();
  await publish("1", commit(1));
  store.once((operation, key) => operation === "get" && key[0] === "blobs", async () => {
    await publish("2", commit(2));
    for (const text of Object.values(commit(1))) {
      await store.inner.delete(blobKey("demo", await sha256Hex(text)));
    }
  });
  const texts = textsOf(await reader().read(null));
  assert.equal(texts["f7.yaml"], "commit 2, file 7");
});

Deno.test("a file that stays missing is an error to try again, and force mends it", async () => {
  const { publish, store, reader } = setUp();
  await publish("1", commit(1));
  await store.delete(blobKey("demo", await sha256Hex("commit 1, file 7")));
  const source = reader();
  await assert.rejects(source.read(null), {
    code: "workspace.blob_missing",
    remedy: "retry",
    message: 'A file of the workspace "demo" is missing',
    hint: "publish it again: flowgen sync demo --force",
  });
  await publish("1", commit(1), { force: true });
  assert.equal(textsOf(await source.read(null))["f7.yaml"], "commit 1, file 7");
});

Deno.test("a file that is not what its name says is as good as missing", async () => {
  const { publish, store, reader } = setUp();
  await publish("1", { "flows/a.yaml": "one", "flows/b.yaml": "two" });
  const other = (await store.get(blobKey("demo", await sha256Hex("two"))))!;
  await store.put(blobKey("demo", await sha256Hex("one")), other.value);
  await assert.rejects(reader().read(null), { code: "workspace.blob_missing" });
});

Deno.test("nothing is read again of what did not change", async () => {
  const { publish, store, reader } = setUp();
  await publish("1", commit(1));
  const source = reader();
  const first = (await source.read(null))!;
  assert.equal(await source.read(first.version), null);
  const gets: string[] = [];
  store.hook = (operation, key) => void (operation === "get" && gets.push(key[0]!));
  await source.read(null);
  assert.deepEqual(gets, ["workspaces", "blobs"], "the manifest and its list");
  await publish("2", { ...commit(1), "flows/new.yaml": "new" });
  gets.length = 0;
  const second = (await source.read(first.version))!;
  assert.deepEqual(gets, ["workspaces", "blobs", "blobs"], "and the new file");
  assert.equal(second.files.size, 51);
});

Deno.test("a workspace that nobody published has no flows", async () => {
  const { reader } = setUp();
  const source = reader();
  const nothing = (await source.read(null))!;
  assert.equal(nothing.files.size, 0);
  assert.equal(await source.read(nothing.version), null);
});

Deno.test("a store that loses the manifest does not end what runs", async () => {
  const { publish, store, reader } = setUp();
  await publish("1", commit(1));
  const source = reader();
  await source.read(null);
  await store.delete(["workspaces", "demo"]);
  await assert.rejects(source.read(null), { code: "workspace.gone", remedy: "retry" });
});

Deno.test("a workspace that was removed has no flows, until something is published again", async () => {
  const { publish, workspaces, store, clock, reader, seen } = setUp();
  await publish("1", commit(1));
  const source = reader();
  const { version } = (await source.read(null))!;
  await workspaces.remove("demo");
  const nothing = (await source.read(version))!;
  assert.equal(nothing.files.size, 0);
  assert.equal(await source.read(nothing.version), null);
  assert.deepEqual(await workspaces.list(), []);
  for (const call of [() => workspaces.remove("demo"), () => workspaces.rollback("demo")]) {
    await assert.rejects(call, { code: "workspace.missing" });
  }
  await clock.advance(DELETED_AFTER + 1);
  await collectBlobs({ store, clock, log: silentLog });
  assert.deepEqual(await Array.fromAsync(store.list(["blobs"])), []);
  await publish("1", { "flows/a.yaml": "again" });
  assert.deepEqual(await seen(), { "a.yaml": "again" });
  assert.equal((await source.read(nothing.version))!.files.size, 1);
});

Deno.test("what was read before a workspace was removed does not bring it back", async () => {
  const { publish, workspaces } = setUp();
  await publish("1", commit(1));
  const { published } = await workspaces.position("demo");
  await workspaces.remove("demo");
  assert.equal((await publish("2", commit(2), { since: published })).outcome, "stale");
  assert.deepEqual(await workspaces.list(), []);
});

Deno.test("a workspace's flows are those below flows/, its resources those below resources/", async () => {
  const { publish, reader } = setUp();
  await publish("1", {
    "flows/a.yaml": "a",
    "flows/sub/b.yml": "b",
    "flows/notes.md": "notes",
    "flows/.hidden.yaml": "hidden",
    "resources/q.sql": "select",
    "resources/shadows.md": "of resources",
    "flows/shadows.md": "beside the flows",
    ".github/workflows/ci.yaml": "ci",
    "chart.yaml": "not a flow",
  }, { prefix: "team/x" });
  const { files, resources } = (await reader().read(null))!;
  assert.deepEqual([...files.keys()], ["team/x/a.yaml", "team/x/sub/b.yml"]);
  assert.equal(files.get("team/x/a.yaml")!.file, "demo:flows/a.yaml");
  const text = (key: string) => resources!.get(key)?.text();
  assert.equal(text("q.sql"), "select");
  assert.equal(text("notes.md"), "notes");
  assert.equal(text("shadows.md"), "of resources");
  assert.equal(text("chart.yaml"), undefined);
});

Deno.test("without a folder flows/ every YAML and JSON file outside resources/ is a flow", async () => {
  const { publish, reader } = setUp();
  await publish("1", { "a.yaml": "a", "x/b.json": "b", "resources/c.yaml": "c", "q.sql": "q" });
  const { files, resources } = (await reader().read(null))!;
  assert.deepEqual([...files.keys()], ["a.yaml", "x/b.json"]);
  assert.equal(resources!.get("c.yaml")!.text(), "c");
  assert.equal(resources!.get("q.sql")!.text(), "q");
});

Deno.test("two files of one identity are both left out, and both told", async () => {
  const { publish, reader } = setUp();
  await publish("1", { "flows/a.yaml": "a", "flows/a.json": "{}", "flows/b.yaml": "b" });
  const { files, problems } = (await reader().read(null))!;
  assert.deepEqual([...files.keys()], ["b.yaml"]);
  assert.deepEqual(problems.map(({ identity, error }) => [identity, error.message]), [
    ["a", 'The flow "a" is also defined by demo:flows/a.yaml'],
    ["a", 'The flow "a" is also defined by demo:flows/a.json'],
  ]);
});
