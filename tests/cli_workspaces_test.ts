/** `flowgen workspaces`, `rollback` and `sync` as people meet them, with a node and without. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { Folder } from "../src/cli/testing.ts";
import { checkConfig } from "../src/config/load.ts";
import { systemClock } from "../src/core/clock.ts";
import { silentLog } from "../src/core/log.ts";
import * as parts from "../src/parts.ts";
import { checkByText, snapshotOf } from "../src/workspace/testing.ts";
import { StoreWorkspaces } from "../src/workspace/workspaces.ts";

const CONFIG = `http_server: { enabled: false }
health: { enabled: false }
sources:
  - { name: acme, git: { url: "http://127.0.0.1:9/flows.git" } }
`;

const VERSIONS = ["1", "2", "3"].map((n) => n.repeat(40));

/** A folder whose store has three versions of `acme`; the third has a broken flow. */
async function published(configText = CONFIG): Promise<Folder> {
  const folder = await Folder.with({ "config.yaml": configText });
  const path = join(folder.path, ".flowgen/store.sqlite3");
  const config = checkConfig({ cache: { path } });
  const ended = new AbortController();
  await using stores = await parts.openStores(config, systemClock, ended.signal);
  const workspaces = new StoreWorkspaces({
    store: stores.system,
    clock: systemClock,
    log: silentLog,
    check: checkByText,
  });
  for (const [at, version] of VERSIONS.entries()) {
    const text = at === 2 ? "broken" : `flow: { name: f${at}, tasks: [] }`;
    await workspaces.publish("acme", snapshotOf(version, { "flows/a.yaml": text }));
  }
  return folder;
}

/** The time left out. */
const withoutTime = (text: string) => text.replaceAll(/\d{4}-\d\d-\d\dT[\d:]+Z/g, "TIME");

const TABLE = `WORKSPACE  VERSION       STATE     PUBLISHED             FILES
acme       333333333333  rejected  TIME  1
  acme:flows/a.yaml:3:7 config.unknown_key
  It is broken
acme       222222222222  active    TIME  1
acme       111111111111  kept      TIME  1
`;

Deno.test("workspaces are shown, and rolled back, from the store when no node runs", async () => {
  await using folder = await published();
  const shown = await folder.flowgen(["workspaces", "--text"]);
  assert.equal(shown.stderr, "");
  assert.equal(withoutTime(shown.stdout), TABLE);
  const back = await folder.flowgen(["rollback", "acme", "--text"]);
  assert.deepEqual(back, { code: 0, stdout: "acme: 111111111111 is live now\n", stderr: "" });
  const [{ active, versions }] = JSON.parse((await folder.flowgen(["workspaces"])).stdout);
  assert.equal(active, VERSIONS[0]);
  assert.deepEqual(versions.map(({ state }: { state: string }) => state), [
    "rejected",
    "rolled_back",
    "active",
  ]);
});

Deno.test("workspaces are shown, and rolled back, by the node that runs", async () => {
  await using folder = await published();
  await using node = folder.start([]);
  await node.record("Running");
  assert.equal(withoutTime((await folder.flowgen(["workspaces", "--text"])).stdout), TABLE);
  const back = await folder.flowgen(["rollback", "acme", "1111"]);
  assert.equal(JSON.parse(back.stdout).active, VERSIONS[0]);
  assert.deepEqual(await folder.flowgen(["rollback", "acme", "9"]), {
    code: 1,
    stdout: "",
    stderr: `workspace.version_missing
Cannot find one version "9" of "acme"
hint: stored are 333333333333, 222222222222, 111111111111
`,
  });
  assert.deepEqual(await folder.flowgen(["rollback", "acme", "333"]), {
    code: 1,
    stdout: "",
    stderr: `workspace.version_rejected
Cannot go back to "333" of "acme": it was rejected
hint: It is broken
`,
  });
});

Deno.test("a workspace that is removed ends, with a node and without, unless a source fills it", async () => {
  await using folder = await published(CONFIG.replace(/^sources:[^]*/m, ""));
  const flows = async () => JSON.parse((await folder.flowgen(["status"])).stdout).flows;
  const removed = { code: 0, stdout: "acme was removed\n", stderr: "" };
  {
    await using node = folder.start([]);
    await node.record("Running");
    assert.deepEqual((await flows()).map((one: { identity: string }) => one.identity), ["a"]);
    assert.deepEqual(await folder.flowgen(["workspaces", "--remove", "acme", "--text"]), removed);
    assert.deepEqual(await flows(), []);
    assert.deepEqual(await folder.flowgen(["workspaces", "--remove", "acme"]), {
      code: 1,
      stdout: "",
      stderr: `workspace.missing
There is no workspace "acme"
hint: see flowgen workspaces for those that are there
`,
    });
    node.signal("SIGTERM");
    await node.ended();
  }
  const { stdout } = await folder.flowgen(["workspaces", "--text"]);
  assert.equal(stdout, "There are no workspaces.\n");

  await using ofSource = await published();
  const refused = {
    code: 1,
    stdout: "",
    stderr: `workspace.of_source
Cannot remove "acme": it is filled by the source of that name
hint: take the source out of config.yaml first, or choose another workspace
`,
  };
  const remove = () => ofSource.flowgen(["workspaces", "--remove", "acme", "--text"]);
  assert.deepEqual(await remove(), refused);
  {
    await using node = ofSource.start([]);
    await node.record("Running");
    assert.deepEqual(await remove(), refused);
  }
  await Deno.writeTextFile(
    join(ofSource.path, "config.yaml"),
    CONFIG.replace(/^sources:[^]*/m, ""),
  );
  assert.deepEqual(await remove(), removed);
});

Deno.test("sync tells what the node found, and how sources are named", async () => {
  await using folder = await published();
  await using node = folder.start([]);
  await node.record("Running");
  const { code, stderr } = await folder.flowgen(["sync", "acme"]);
  assert.equal(code, 1);
  assert.match(
    stderr,
    /^source\.unavailable\nCannot read from http:\/\/127\.0\.0\.1:9\/flows\.git/,
  );
  assert.deepEqual(await folder.flowgen(["sync", "akme"]), {
    code: 1,
    stdout: "",
    stderr: 'source.unknown\nThere is no source "akme" in config.yaml\n' +
      'hint: did you mean "acme"?\n',
  });
  const { sources } = JSON.parse((await folder.flowgen(["status"])).stdout);
  assert.deepEqual([sources[0].name, sources[0].kind, sources[0].checked], ["acme", "git", null]);
  assert.equal(sources[0].error.code, "source.unavailable");
  const { stdout } = await folder.flowgen(["status", "--text"]);
  assert.match(
    stdout,
    /\nSOURCE +KIND +VERSION +CHECKED +NEXT\nacme +git +- +not yet +(in .+|now)\n {2}source\.unav/,
  );
});

Deno.test("without a node sync has nobody to ask, and looking makes no store", async () => {
  await using folder = await Folder.with({ "config.yaml": CONFIG });
  for (const args of [["sync", "acme"], ["workspaces"], ["rollback", "acme"]]) {
    const { code, stderr } = await folder.flowgen(args);
    assert.equal(code, 1, args[0]);
    assert.match(stderr, /^control\.no_node\nNo running node found at \.flowgen\/control\.sock\n/);
  }
  assert.deepEqual(await Array.fromAsync(Deno.readDir(folder.path), ({ name }) => name), [
    "config.yaml",
  ]);
});
