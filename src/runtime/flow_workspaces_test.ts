import assert from "node:assert/strict";
import { checkConfig } from "../config/load.ts";
import { recordingWorkspaces } from "../flow/testing.ts";
import type { WorkspaceVersion } from "../flow/workspace.ts";
import { snapshotOf } from "../workspace/testing.ts";
import { guardedWorkspaces, standing } from "./flow_workspaces.ts";

const config = checkConfig({
  sources: [{ name: "signed", git: { url: "https://example.com/flows.git" } }],
});

Deno.test("the workspace of a source cannot be published to by flows, or removed", async () => {
  const inner = recordingWorkspaces();
  const workspaces = guardedWorkspaces(inner, config);
  await assert.rejects(() => workspaces.publish("signed", snapshotOf("1", {})), {
    code: "workspace.of_source",
    message: 'Cannot publish to "signed": it is filled by the source of that name',
  });
  await assert.rejects(() => workspaces.remove("signed"), {
    code: "workspace.of_source",
    message: 'Cannot remove "signed": it is filled by the source of that name',
  });
  await workspaces.publish("other", snapshotOf("1", {}), { prefix: "p", ofSource: true });
  assert.deepEqual(inner.published.map(({ name, options }) => [name, options]), [
    ["other", { prefix: "p", ofSource: false }],
  ]);
});

Deno.test("where a source has nothing new it is told whether its newest version is live", () => {
  const view = (state: WorkspaceVersion["state"]) => [{
    name: "demo",
    active: "1",
    versions: [{ version: "2", time: "", state, files: 1, findings: [] }],
  }];
  assert.equal(standing("demo", view("active")).outcome, "unchanged");
  assert.equal(standing("demo", view("rejected")).outcome, "held");
  const held = { workspace: "demo", version: "2", outcome: "held", active: "1", findings: [] };
  assert.deepEqual(standing("demo", view("rolled_back")), held);
});
