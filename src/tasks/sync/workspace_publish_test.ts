import assert from "node:assert/strict";
import { TestClock } from "../../core/clock.ts";
import { FlowError } from "../../core/errors.ts";
import { recordingWorkspaces } from "../../flow/testing.ts";
import { testEvent } from "../../flow/testing.ts";
import { gitSync } from "./git_sync.ts";
import { BINARY, emptyStore, FakeRemote, make } from "./testing.ts";
import { workspacePublish } from "./workspace_publish.ts";

async function setUp(config: object = {}) {
  const workspaces = recordingWorkspaces();
  const task = await make(workspacePublish, { workspace: "acme", ...config }, { workspaces });
  return { workspaces, publish: (data: unknown) => task.sync(testEvent(data as never)) };
}

Deno.test("what git_sync gives as a snapshot is published as it was read", async () => {
  const clock = new TestClock();
  const error = new FlowError("source.link_skipped", "It is left out", { hint: "commit files" });
  const remote = new FakeRemote("1", { "flows/a.yaml": "\ufeffflow: {}", "x.bin": BINARY });
  remote.snapshot = { ...remote.snapshot, problems: [{ identity: "flows/l", error }] };
  const source = await make(gitSync, { repository_url: "https://host/r", emit: "snapshot" }, {
    runtimeStore: emptyStore(clock),
    remotes: remote.open,
  });
  const [read] = await source.sync();
  await source.close();
  const { workspaces, publish } = await setUp({ prefix: "team", activate: "each", force: true });
  // As it is when a script has passed it on.
  const [event] = await publish(JSON.parse(JSON.stringify(read!.data)));
  assert.deepEqual(event!.data, {
    workspace: "acme",
    version: "1",
    outcome: "activated",
    active: "1",
    findings: [],
  });
  const [{ name, snapshot, options }] = workspaces.published as [typeof workspaces.published[0]];
  assert.deepEqual([name, options], ["acme", { prefix: "team", activate: "each", force: true }]);
  assert.equal(snapshot.version, "1");
  for (const [path, file] of remote.snapshot.files) {
    assert.deepEqual(snapshot.files.get(path)!.bytes(), file.bytes());
  }
  const [problem] = snapshot.problems;
  assert.deepEqual([problem!.identity, problem!.error.code, problem!.error.hint], [
    "flows/l",
    "source.link_skipped",
    "commit files",
  ]);
});

Deno.test("what is no snapshot is refused with what to do instead", async () => {
  const { workspaces, publish } = await setUp();
  const file = { path: "a.yaml", content: "" };
  const cases: [unknown, string][] = [
    [{ path: "a.yaml", content: "", commit: "1" }, '"version" is not as expected'],
    [[file], "it is not the data of a snapshot"],
    ["text", "it is not the data of a snapshot"],
    [BINARY, "it is not the data of a snapshot"],
    [{ version: "1", files: [{ path: 1 }] }, '"files.0.path" is not as expected'],
    [{ version: "1", files: [file, file] }, 'it has two files "a.yaml"'],
    [{ version: "1", files: [{ path: "a" }] }, 'the file "a" has not one of content and base64'],
    [
      { version: "1", files: [{ path: "a", base64: "?" }] },
      'the file "a" has no base64 in base64',
    ],
  ];
  for (const [data, reason] of cases) {
    await assert.rejects(() => publish(data), {
      code: "event.snapshot_invalid",
      message: `Cannot publish this event: ${reason}`,
      hint: "put it behind git_sync or oci_sync with emit: snapshot",
      remedy: "event",
    });
  }
  assert.deepEqual(workspaces.published, []);
});

Deno.test("a snapshot that is tried again does not replace a newer one that went live meanwhile", async () => {
  const workspaces = recordingWorkspaces();
  let isDown = true;
  const publish: typeof workspaces.publish = async (...given) => {
    if (isDown) throw new FlowError("store.unavailable", "It is down");
    return await workspaces.publish(...given);
  };
  const services = { workspaces: { ...workspaces, publish } };
  const task = await make(workspacePublish, { workspace: "acme" }, services);
  const [older, newer] = ["1", "2"].map((version) => testEvent({ version, files: [] }));
  await assert.rejects(() => task.sync(older), { code: "store.unavailable" });
  isDown = false;
  await task.sync(newer);
  const [event] = await task.sync(older);
  assert.deepEqual(event!.data, {
    workspace: "acme",
    version: "1",
    outcome: "stale",
    active: "2",
    findings: [],
  });
  // A version may well come again later: as another event it is newer.
  await task.sync(testEvent({ version: "1", files: [] }));
  assert.deepEqual(workspaces.published.map(({ snapshot }) => snapshot.version), ["2", "1"]);
});

Deno.test("snapshots are published one after another, whatever concurrency the flow asks for", async () => {
  const workspaces = recordingWorkspaces();
  const slow = Promise.withResolvers<void>();
  const publish: typeof workspaces.publish = async (name, snapshot, options) => {
    if (snapshot.version === "1") await slow.promise;
    return await workspaces.publish(name, snapshot, options);
  };
  const services = { workspaces: { ...workspaces, publish } };
  const task = await make(workspacePublish, { workspace: "acme" }, services);
  const both = ["1", "2"].map((version) => task.sync(testEvent({ version, files: [] })));
  slow.resolve();
  await Promise.all(both);
  assert.deepEqual(workspaces.published.map(({ snapshot }) => snapshot.version), ["1", "2"]);
});

Deno.test("where there are no workspaces the task does not start", async () => {
  await assert.rejects(() => make(workspacePublish, { workspace: "acme" }, {}), {
    code: "workspace.not_available",
  });
});
