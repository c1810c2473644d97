import assert from "node:assert/strict";
import { sha256Hex } from "../core/digest.ts";
import { blobKey } from "./blobs.ts";
import { setUp } from "./testing.ts";

const files = (text: string) => ({ "flows/a.yaml": text });

async function withVersions(...versions: string[]) {
  const given = setUp();
  for (const version of versions) await given.publish(version, files(version));
  return given;
}

Deno.test("a rollback without a version goes to the one before, and on from there", async () => {
  const { workspaces, seen } = await withVersions("1", "2", "3");
  assert.equal((await workspaces.rollback("demo")).active, "2");
  assert.equal((await workspaces.rollback("demo")).active, "1");
  assert.deepEqual(await seen(), { "a.yaml": "1" });
  await assert.rejects(workspaces.rollback("demo"), {
    code: "workspace.nothing_before",
    message: 'There is no version of "demo" to go back to',
  });
});

Deno.test("the version before is never one that was taken back or rejected", async () => {
  const { workspaces, publish } = await withVersions("1", "2");
  await workspaces.rollback("demo");
  await publish("3", files("broken"));
  await publish("4", files("4"));
  assert.equal((await workspaces.rollback("demo")).active, "1");
});

Deno.test("a version is named by its start where that is enough", async () => {
  const { workspaces } = await withVersions("aa1", "aa2", "b3", "c");
  assert.equal((await workspaces.rollback("demo", "b")).active, "b3");
  await assert.rejects(workspaces.rollback("demo", "aa"), {
    code: "workspace.version_missing",
    message: 'Cannot find one version "aa" of "demo"',
    hint: "stored are c, b3, aa2, aa1",
  });
  await assert.rejects(workspaces.rollback("other"), { code: "workspace.missing" });
});

Deno.test("a rollback may go forward again to what was taken back", async () => {
  const { workspaces, publish } = await withVersions("1", "2");
  await workspaces.rollback("demo");
  const forward = await workspaces.rollback("demo", "2");
  assert.deepEqual([forward.outcome, forward.active], ["activated", "2"]);
  assert.equal((await workspaces.rollback("demo", "2")).outcome, "unchanged");
  await publish("3", files("3"));
  assert.equal((await workspaces.rollback("demo")).active, "2", "it is as good as any");
});

Deno.test("a version that was rejected cannot be gone back to", async () => {
  const { workspaces, publish } = await withVersions("1");
  await publish("2", files("broken"));
  await assert.rejects(workspaces.rollback("demo", "2"), {
    code: "workspace.version_rejected",
    message: 'Cannot go back to "2" of "demo": it was rejected',
    hint: "It is broken",
  });
});

Deno.test("two people who go back at once go back one version, not two", async () => {
  const { store, workspaces, publisher } = await withVersions("1", "2", "3");
  store.once(
    (operation, key) => operation === "update" && key[0] === "workspaces",
    () => publisher().rollback("demo"),
  );
  const second = await workspaces.rollback("demo");
  assert.deepEqual([second.outcome, second.active], ["unchanged", "2"]);
});

Deno.test("a rollback does not take back what went live after it was asked for", async () => {
  const { store, workspaces, publish, seen } = await withVersions("1", "2");
  store.once(
    (operation, key) => operation === "update" && key[0] === "workspaces",
    () => publish("3", files("the mend")),
  );
  await assert.rejects(workspaces.rollback("demo"), { code: "workspace.busy" });
  assert.deepEqual(await seen(), { "a.yaml": "the mend" });
});

Deno.test("a rollback to a version with a missing file is refused", async () => {
  const { store, workspaces, seen } = await withVersions("1", "2");
  await store.delete(blobKey("demo", await sha256Hex("1")));
  await assert.rejects(workspaces.rollback("demo"), { code: "workspace.blob_missing" });
  assert.deepEqual(await seen(), { "a.yaml": "2" });
});
