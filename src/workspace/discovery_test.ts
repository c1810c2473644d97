import assert from "node:assert/strict";
import { silentLog } from "../core/log.ts";
import { Discovery } from "./discovery.ts";
import { setUp, snapshotOf } from "./testing.ts";

Deno.test("workspaces that are not known are found, once and in the order of names", async () => {
  const { clock, store, workspaces } = setUp();
  const found: string[] = [];
  const discovery = new Discovery({
    store,
    clock,
    log: silentLog,
    signal: new AbortController().signal,
    known: ["demo"],
    found: (name) => void found.push(name),
  });
  for (const name of ["other", "demo", "more"]) {
    await workspaces.publish(name, snapshotOf("1", { "flows/a.yaml": "one" }));
  }
  // Another program's keys, which no workspace can have.
  for (const key of ["not one", "a.b"]) await store.put(["workspaces", key], new Uint8Array(1));
  await store.put(["workspaces", "demo", "more"], new Uint8Array(1));
  await discovery.look();
  await discovery.look();
  assert.deepEqual(found, ["more", "other"]);
});

Deno.test("a workspace of a source that the configuration does not name is left alone, until a flow fills it", async () => {
  const { clock, store, workspaces } = setUp();
  const found: string[] = [];
  const warnings: string[] = [];
  const discovery = new Discovery({
    store,
    clock,
    log: { ...silentLog, warning: (message: string) => void warnings.push(message) },
    signal: new AbortController().signal,
    known: [],
    found: (name) => void found.push(name),
  });
  const published = snapshotOf("1", { "flows/a.yaml": "one" });
  await workspaces.publish("gone", published, { ofSource: true });
  await discovery.look();
  await discovery.look();
  assert.deepEqual([found, warnings.length], [[], 1]);
  await workspaces.remove("gone");
  await discovery.look();
  assert.deepEqual(found, []);
  await workspaces.publish("gone", snapshotOf("2", { "flows/a.yaml": "two" }));
  await discovery.look();
  assert.deepEqual(found, ["gone"]);
});
