import assert from "node:assert/strict";
import { recordingWorkspaces } from "../flow/testing.ts";
import type { WorkspaceVersion } from "../flow/workspace.ts";
import { snapshotOf } from "../workspace/testing.ts";
import { standing, workspacesForFlows } from "./flow_workspaces.ts";

Deno.test("a flow cannot publish to the workspace of a source", async () => {
  const inner = recordingWorkspaces();
  const workspaces = workspacesForFlows(inner, new Set(["signed"]));
  await assert.rejects(() => workspaces.publish("signed", snapshotOf("1", {})), {
    code: "workspace.of_source",
    message: 'Cannot publish to "signed": it is filled by the source of that name',
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
