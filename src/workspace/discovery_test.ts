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
