/** Repositories that change their minds, credentials that expire, and flows that want too much. */
import assert from "node:assert/strict";
import { type Log, silentLog } from "../../../src/core/log.ts";
import { Folder } from "../../../src/cli/testing.ts";
import { answers, SECRET, withScene } from "./scene.ts";

Deno.test("a force-push goes live like any other", async () => {
  await withScene(async ({ repository, start }) => {
    await repository.commit({ "flows/a.yaml": answers("/a", "one") });
    const first = await repository.head();
    await repository.commit({ "flows/b.yaml": answers("/b", "one") });
    const node = await start();
    await node.answers("/b", "one");
    await repository.git("reset", "--quiet", "--hard", first);
    await repository.commit({ "flows/a.yaml": answers("/a", "forced") }, "--amend");
    assert.equal((await node.sync()).outcome, "activated");
    await node.answers("/a", "forced");
    assert.deepEqual(node.flows(), { a: "running" });
    assert.equal((await node.get("/b"))[0], 404);
  });
});

Deno.test("a branch that is deleted leaves what it had running, and comes back", async () => {
  await withScene(async ({ repository, start }) => {
    await repository.commit({ "flows/a.yaml": answers("/a", "one") });
    const node = await start();
    await node.answers("/a", "one");
    await repository.git("branch", "-m", "main", "gone");
    await assert.rejects(() => node.sync(), { code: "source.ref_missing" });
    assert.equal(node.runtime.status().sources[0]!.error!.code, "source.ref_missing");
    assert.deepEqual(await node.get("/a"), [200, "one"]);
    await repository.git("branch", "-m", "gone", "main");
    await repository.commit({ "flows/a.yaml": answers("/a", "two") });
    await node.sync();
    await node.answers("/a", "two");
    assert.equal(node.runtime.status().sources[0]!.error, undefined);
  });
});

Deno.test("an empty repository is told as such, until its first commit", async () => {
  await withScene(async ({ repository, start }) => {
    const node = await start();
    await assert.rejects(() => node.sync(), { code: "source.ref_missing" });
    assert.deepEqual(node.flows(), {});
    await repository.commit({ "flows/a.yaml": answers("/a", "one") });
    await node.push();
    await node.answers("/a", "one");
  });
});

Deno.test("flows that a repository no longer has stop, the last of them too", async () => {
  await withScene(async ({ repository, start }) => {
    const texts = Object.fromEntries(
      [..."abc"].map((name) => [`flows/${name}.yaml`, answers(`/${name}`, "one")]),
    );
    await repository.commit({ ...texts, "flows/README.md": "no flow" });
    const node = await start();
    await node.answers("/c", "one");
    await repository.commit({ "flows/b.yaml": null, "flows/c.yaml": null });
    await node.sync();
    await node.until("two have stopped", () => Object.keys(node.flows()).join() === "a");
    assert.deepEqual(await node.get("/a"), [200, "one"]);
    await repository.commit({ "flows/a.yaml": null });
    await node.sync();
    await node.until("all have stopped", () => Object.keys(node.flows()).length === 0);
  });
});

Deno.test("a token that expired is told, and its successor taken from the file", async () => {
  await withScene(async ({ repository, server, source, start, write }) => {
    await repository.commit({ "flows/a.yaml": answers("/a", "one") });
    const credentials_path = await write("git.json", '{"token":"first-token"}');
    const node = await start({ sources: [source({ credentials_path })] });
    await node.answers("/a", "one");
    server.options.auth = { token: "second-token" };
    await repository.commit({ "flows/a.yaml": answers("/a", "two") });
    const refused = await node.sync().then(() => null, (cause) => cause);
    assert.equal(refused.code, "source.auth_failed");
    assert.doesNotMatch(JSON.stringify([refused.message, refused.hint]), /first-token/);
    assert.deepEqual(await node.get("/a"), [200, "one"]);
    await write("git.json", '{"token":"second-token"}');
    await node.sync();
    await node.answers("/a", "two");
  }, { auth: { token: "first-token" } });
});

Deno.test("flows from outside see the variables that are listed, and credentials below the root", async () => {
  await withScene(async ({ folder, repository, start, write }) => {
    await Deno.mkdir(`${folder}/allowed`);
    await write("allowed/in.json", '{"bearer_auth":"let me in"}');
    const secret = await write("secret.json", '{"bearer_auth":"theirs"}');
    const guarded = (path: string, credentials: string) =>
      answers(path, "guarded").replace(
        "name: in,",
        `name: in, credentials_path: "${credentials}",`,
      );
    await repository.commit({
      "flows/listed.yaml": answers("/listed", "{{env.LISTED}}"),
      "flows/secret.yaml": answers("/secret", "{{env.SECRET}}"),
      "flows/below.yaml": guarded("/below", "in.json"),
      "flows/above.yaml": guarded("/above", secret),
      "flows/dots.yaml": guarded("/dots", "../secret.json"),
    });
    const node = await start(
      { flows: { env: ["LISTED"], credentials_root: `${folder}/allowed` } },
      { env: { LISTED: "for all", SECRET: "for files only" } },
    );
    await node.answers("/listed", "for all");
    await node.until("all were looked at", () => Object.keys(node.flows()).length === 5);
    assert.deepEqual(node.flows(), {
      above: "invalid flow.credentials_not_allowed",
      below: "running",
      dots: "invalid flow.credentials_not_allowed",
      listed: "running",
      secret: "invalid config.env_not_allowed",
    });
    assert.equal((await node.get("/below"))[0], 401);
  });
});

Deno.test("a source that is taken out of the configuration leaves its workspace, and its flows end", async () => {
  await withScene(async ({ repository, server, start }) => {
    await repository.commit({ "flows/a.yaml": answers("/a", "one") });
    const told: string[] = [];
    const warning = (message: string) => void told.push(message);
    const log: Log = { ...silentLog, warning, with: () => log };
    const node = await start({}, { log });
    await node.answers("/a", "one");
    await repository.commit({ "flows/a.yaml": answers("/a", "two") });
    await node.sync();
    await node.stop();
    assert.deepEqual(told, []);

    const without = await start({ sources: [] }, { log });
    assert.deepEqual(without.flows(), {});
    assert.equal((await without.workspaces()).length, 1);
    await without.stop();
    assert.deepEqual(told, [
      "A workspace is of no source of this configuration and left alone",
    ]);

    server.fault = () => ({ kind: "answer", response: () => new Response("no", { status: 503 }) });
    const again = await start({}, { log });
    await again.answers("/a", "two");
  });
});

Deno.test("people sync, look and go back from the command line", async () => {
  await withScene(async ({ repository, source }) => {
    const config = {
      http_server: { port: 0, hostname: "127.0.0.1" },
      health: { enabled: false },
      sources: [source({ webhook: { secret: SECRET } })],
    };
    const commit = (text: string) => repository.commit({ "flows/a.yaml": answers("/a", text) });
    await using folder = await Folder.with({ "config.yaml": JSON.stringify(config) });
    const one = (await commit("one")).slice(0, 12);
    await using node = folder.start([]);
    await node.record("Running");
    const run = async (...args: string[]) => {
      const { code, stdout, stderr } = await folder.flowgen([...args, "--text"]);
      assert.equal(stderr, "");
      return [code, stdout.trim()];
    };
    const [, first] = await run("sync", "demo");
    assert.ok(
      [`demo: ${one} is live now`, `demo: nothing new, ${one} is live`].includes(`${first}`),
    );
    const two = (await commit("two")).slice(0, 12);
    assert.deepEqual(await run("sync", "demo"), [0, `demo: ${two} is live now`]);
    assert.deepEqual(await run("sync", "demo"), [0, `demo: nothing new, ${two} is live`]);
    assert.deepEqual(await run("rollback", "demo"), [0, `demo: ${one} is live now`]);
    const hint = "--force activates what was rolled back, and checks again";
    assert.deepEqual(await run("sync", "demo"), [
      1,
      `demo: ${two} is held, ${one} is live\n${hint}`,
    ]);
    const three = (await repository.commit({ "flows/a.yaml": "flow: {}" })).slice(0, 12);
    const [code, rejected] = await run("sync", "demo");
    assert.equal(code, 1);
    assert.match(
      `${rejected}`,
      new RegExp(`^demo: ${three} was rejected, ${one} is live\n  demo:`),
    );
    assert.deepEqual(await run("sync", "demo", "--force"), [1, rejected]);
    const [, status] = await run("status");
    assert.match(
      `${status}`,
      new RegExp(
        `\nSOURCE  KIND  VERSION       CHECKED +NEXT\ndemo    git   ${three}  \\S+ ago +in .+\n  demo:`,
      ),
    );
  });
});
