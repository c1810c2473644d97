import assert from "node:assert/strict";
import * as v from "valibot";
import { TestClock } from "../../core/clock.ts";
import { FlowError } from "../../core/errors.ts";
import { isBytes } from "../../flow/event.ts";
import { Tracked } from "../../flow/task.ts";
import { testContext, testEvent } from "../../flow/testing.ts";
import { gitSync } from "./git_sync.ts";
import { BINARY, emptyStore, FakeRemote, make, remoteSnapshot } from "./testing.ts";

const URL = "https://host/flows.git";

function setUp(files: Record<string, string | Uint8Array> = { "a.sql": "one", "b.sql": "two" }) {
  const clock = new TestClock();
  const remote = new FakeRemote("1", files);
  const services = { clock, runtimeStore: emptyStore(clock), remotes: remote.open };
  const sync = (config: object = {}, name?: string) =>
    make(gitSync, { repository_url: URL, ...config }, services, { clock, name });
  return { clock, remote, services, sync };
}

Deno.test("git_sync emits one event per file, and nothing while nothing changes", async () => {
  const { remote, sync } = setUp();
  const task = await sync();
  const event = testEvent({ tick: 1 }, { meta: { more: true } });
  const events = await task.sync(event);
  assert.deepEqual(events.map(({ data }) => data), [
    { path: "a.sql", commit: "commit 1", content: "one" },
    { path: "b.sql", commit: "commit 1", content: "two" },
  ]);
  assert.deepEqual(events.map(({ meta, subject }) => [meta, subject]), [
    [event.meta, "git_sync"],
    [event.meta, "git_sync"],
  ]);
  assert.equal(await task.output(), null);
  remote.snapshot = remoteSnapshot("2", { "a.sql": "three" });
  assert.deepEqual((await task.sync()).map(({ data }) => data), [
    { path: "a.sql", commit: "commit 2", content: "three" },
  ]);
  assert.deepEqual(remote.reads, [null, "1", "1"]);
  assert.equal(remote.opened.length, 1, "what was fetched is kept between events");
  await task.close();
});

Deno.test("a file that is not UTF-8 is bytes, and what is known of it is added to meta", async () => {
  const { sync } = setUp({ "x.bin": BINARY });
  const task = await sync();
  const [event] = await task.sync(testEvent({}, { meta: { more: true } }));
  assert.ok(isBytes(event!.data));
  assert.deepEqual(event!.data, BINARY);
  const { correlation_id, ...meta } = event!.meta;
  assert.equal(typeof correlation_id, "string");
  assert.deepEqual(meta, { more: true, path: "x.bin", commit: "commit 1" });
  await task.close();
});

Deno.test("what was seen is remembered over restarts, for each task and place by itself", async () => {
  const { remote, sync } = setUp();
  await using all = new AsyncDisposableStack();
  const reads = async (config: object, name?: string) => {
    const task = await sync(config, name);
    all.defer(() => task.close());
    await task.sync();
    return remote.reads.at(-1);
  };
  assert.equal(await reads({}), null);
  assert.equal(await reads({}), "1", "the same again");
  assert.equal(await reads({ branch: "main" }), "1", "main is the default");
  assert.equal(await reads({}, "another"), null);
  assert.equal(await reads({ branch: "next" }), null);
  assert.equal(await reads({ path: "sql" }), null);
  assert.equal(await reads({ repository_url: "https://host/other.git" }), null);
  assert.equal(await reads({ emit: "snapshot" }), null);
});

Deno.test("files of which one was not done come again, all of them", async () => {
  const { remote, sync } = setUp();
  const task = await sync();
  const failed = await task.output();
  assert.ok(failed instanceof Tracked);
  failed.settled({ ok: false, cause: new Error("no") });
  assert.equal((await task.sync()).length, 2);
  assert.equal(await task.output(), null);
  assert.deepEqual(remote.reads, [null, null, "1"]);
  await task.close();
});

Deno.test("a snapshot that was not done comes again", async () => {
  const { remote, sync } = setUp();
  const task = await sync({ emit: "snapshot" });
  const failed = await task.output();
  assert.ok(failed instanceof Tracked);
  failed.settled({ ok: false, cause: new Error("no") });
  const open = await task.output();
  assert.ok(open instanceof Tracked, "it was not done");
  assert.ok(await task.output() instanceof Tracked, "it is not done yet");
  open.settled({ ok: true });
  assert.equal(await task.output(), null);
  assert.deepEqual(remote.reads, [null, null, null, "1"]);
  await task.close();
});

Deno.test("of two versions under way the newer one is remembered, whichever is done last", async () => {
  const { remote, sync } = setUp();
  const task = await sync({ emit: "snapshot" });
  const older = await task.output() as Tracked;
  remote.snapshot = remoteSnapshot("2", { "a.sql": "three" });
  const newer = await task.output() as Tracked;
  newer.settled({ ok: true });
  older.settled({ ok: true });
  assert.equal(await task.output(), null);
  assert.equal(remote.reads.at(-1), "2");
  await task.close();
});

Deno.test("a snapshot is one event with all files, text or base64", async () => {
  const { remote, sync } = setUp({ "flows/a.yaml": "flow: {}", "x.bin": BINARY });
  const error = new FlowError("source.link_skipped", "It is left out", { hint: "commit files" });
  remote.snapshot = { ...remote.snapshot, problems: [{ identity: "flows/l", error }, { error }] };
  const task = await sync({ emit: "snapshot" });
  const [event] = await task.sync();
  const problem = { code: "source.link_skipped", message: "It is left out", hint: "commit files" };
  assert.deepEqual(event!.data, {
    version: "1",
    commit: "commit 1",
    files: [
      { path: "flows/a.yaml", content: "flow: {}" },
      { path: "x.bin", base64: "/wD+" },
    ],
    problems: [{ identity: "flows/l", ...problem }, problem],
  });
  await task.close();
});

Deno.test("force_pull emits the files also when they did not change", async () => {
  const { remote, sync } = setUp();
  const task = await sync({ force_pull: true });
  assert.equal((await task.sync()).length, 2);
  assert.equal((await task.sync()).length, 2);
  assert.deepEqual(remote.reads, [null, null]);
  await task.close();
});

Deno.test("a commit without files is seen too", async () => {
  const { sync } = setUp({});
  const task = await sync();
  assert.deepEqual(await task.sync(), []);
  assert.equal(await task.output(), null);
  await task.close();
});

Deno.test("one read is under way at a time, and one that fails is no other's trouble", async () => {
  const { remote, sync } = setUp();
  const task = await sync({ emit: "snapshot" });
  let reading = 0;
  let most = 0;
  remote.onRead = async () => {
    most = Math.max(most, ++reading);
    await Promise.resolve();
    reading--;
    if (remote.reads.length === 1) throw new FlowError("source.unavailable", "It is away");
  };
  const [first, second] = await Promise.allSettled([task.output(), task.output()]);
  assert.equal(first!.status, "rejected");
  assert.equal(second!.status, "fulfilled");
  assert.equal(most, 1);
  await task.close();
});

Deno.test("an event whose time is over asks the server nothing", async () => {
  const { remote, sync } = setUp();
  const task = await sync();
  await assert.rejects(() => task.output(AbortSignal.abort(new Error("late"))), /late/);
  assert.deepEqual(remote.reads, []);
  await task.close();
});

Deno.test("the place to read from is what the fields say", async () => {
  const { clock, remote, services } = setUp();
  const context = testContext(gitSync, {
    repository_url: URL,
    semver: "^1",
    path: "flows",
    clone_path: "/tmp/clone",
    credentials_path: "git.json",
    verify: { ssh_keys_path: "keys" },
    max_file_size: "1KiB",
  }, { clock, services });
  await gitSync.create({ ...context, credentials: (path) => `/run/secrets/${path}` });
  const [opened] = remote.opened;
  assert.deepEqual(JSON.parse(JSON.stringify(opened)), {
    git: { url: URL, semver: "^1", path: "flows" },
    credentials_path: "/run/secrets/git.json",
    verify: { ssh_keys_path: "/run/secrets/keys" },
    limits: { max_file_size: 1024, max_total_size: 104_857_600, max_files: 20_000 },
  });
});

Deno.test("git_sync refuses addresses that are not HTTP, and two things to follow", () => {
  const issues = (config: object) =>
    v.safeParse(gitSync.config, { repository_url: URL, ...config }).issues?.map((one) =>
      one.message
    );
  assert.deepEqual(issues({ repository_url: "git@host:team/flows.git" }), [
    'Expected an address such as "https://host/team/flows.git"',
  ]);
  assert.deepEqual(issues({ verify: {} }), ["Expected one of ssh_keys and ssh_keys_path"]);
  const config = v.parse(gitSync.config, { repository_url: URL, branch: "a", tag: "b" });
  assert.throws(() => gitSync.check!({ ...testContext(gitSync, config), config }), {
    code: "config.unused_key",
    message: "Cannot follow branch and tag at once",
  });
});
