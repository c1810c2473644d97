/** One node with Deno KV: what a push to a repository does to what runs. */
import assert from "node:assert/strict";
import { answers, CEILING, promptly, tell, withScene } from "./scene.ts";

Deno.test("a push is live in a second where a webhook tells of it", async () => {
  await withScene(async ({ repository, start, server }) => {
    await repository.commit({ "flows/hello.yaml": answers("/hello", "one") });
    const node = await start();
    await node.answers("/hello", "one");
    await repository.commit({ "flows/hello.yaml": answers("/hello", "two") });
    assert.equal(await node.push("demo", "wrong"), 403);
    assert.equal(await node.push("other"), 404);
    assert.deepEqual(await node.get("/hello"), [200, "one"], "nobody who could has asked yet");
    await promptly("webhook to live, one node", CEILING, async (attempt) => {
      await repository.commit({ "flows/hello.yaml": answers("/hello", `try ${attempt}`) });
      const begin = performance.now();
      assert.equal(await node.push(), 202);
      await node.answers("/hello", `try ${attempt}`);
      return performance.now() - begin;
    });

    await node.sync(); // what is under way is over
    server.seen.length = 0;
    const all = Promise.withResolvers<null>();
    server.fault = () => all.promise; // the first check waits until all have called
    const pushes = await Promise.all(Array.from({ length: 20 }, () => node.push()));
    all.resolve(null);
    assert.deepEqual(new Set(pushes), new Set([202]));
    await node.sync();
    assert.ok(server.seen.length <= 6, `${server.seen.length} requests for 20 calls at once`);
  });
});

Deno.test("a push is live within the interval and a second where nobody tells of it", async () => {
  await withScene(async ({ repository, source, start }) => {
    await repository.commit({ "flows/hello.yaml": answers("/hello", "one") });
    const node = await start({ sources: [source({ interval: "1s", webhook: undefined })] });
    await node.answers("/hello", "one");
    await promptly("polling each second to live", 5 * 2_000, async (attempt) => {
      await repository.commit({ "flows/hello.yaml": answers("/hello", `try ${attempt}`) });
      return await node.answers("/hello", `try ${attempt}`);
    });
  });
});

Deno.test("a commit with a broken flow changes nothing, and the status says where it is broken", async () => {
  await withScene(async ({ repository, start }) => {
    await repository.commit({
      "flows/a.yaml": answers("/a", "one"),
      "flows/b.yaml": answers("/b", "one"),
    });
    const node = await start();
    await node.answers("/a", "one");
    const broken = await repository.commit({
      "flows/a.yaml": answers("/a", "two"),
      "flows/b.yaml": answers("/b", "two").replace(" endpoint:", " endpoynt:"),
    });
    const rejected = await node.sync();
    assert.deepEqual([rejected.outcome, rejected.version], ["rejected", broken]);
    assert.deepEqual([await node.get("/a"), await node.get("/b")], [[200, "one"], [200, "one"]]);
    assert.deepEqual(node.flows(), { a: "running", b: "running" });
    const [source] = node.runtime.status().sources;
    assert.equal(source!.version, broken);
    assert.equal(source!.error!.code, "config.unknown_key");
    assert.deepEqual(source!.error!.position, { file: "demo:flows/b.yaml", line: 3, column: 34 });
    assert.equal((await node.sync()).outcome, "held", "it is not checked again");
    await repository.commit({
      "flows/b.yaml": answers("/b", "two") +
        "    - script: { name: say, code: { resource: b.js } }\n",
      "resources/b.js": "return {\n  text: 'two }",
    });
    const [finding] = (await node.sync()).findings;
    assert.equal(finding!.code, "script.syntax");
    assert.deepEqual(finding!.position, { file: "demo:resources/b.js", line: 2, column: 9 });
    await repository.commit({ "flows/b.yaml": answers("/b", "three") });
    assert.equal((await node.sync()).outcome, "activated");
    await node.answers("/b", "three");
    await node.answers("/a", "two");
    assert.equal(node.runtime.status().sources[0]!.error, undefined);
  });
});

Deno.test("with activate: each, the flows that are right go live", async () => {
  await withScene(async ({ repository, source, start }) => {
    await repository.commit({
      "flows/a.yaml": answers("/a", "one"),
      "flows/b.yaml": "flow: { tasks: [{ nonsense: { name: x } }] }",
    });
    const node = await start({ sources: [source({ activate: "each", prefix: "team" })] });
    await node.answers("/a", "one");
    assert.deepEqual(node.flows(), { "team/a": "running", "team/b": "invalid task.unknown_type" });
  });
});

Deno.test("what was rolled back is held until something newer comes, or it is forced", async () => {
  await withScene(async ({ repository, start }) => {
    const commit = (text: string) => repository.commit({ "flows/a.yaml": answers("/a", text) });
    const one = await commit("one");
    const node = await start();
    await node.answers("/a", "one");
    const two = await commit("two");
    await node.sync();
    await node.answers("/a", "two");

    assert.equal((await node.rollback()).active, one);
    await node.answers("/a", "one");
    await node.push();
    const held = await node.sync();
    assert.deepEqual([held.outcome, held.version, held.active], ["held", two, one]);
    assert.deepEqual(await node.get("/a"), [200, "one"]);

    assert.equal((await node.sync("demo", true)).active, two);
    await node.answers("/a", "two");

    await node.rollback(one.slice(0, 10));
    await node.answers("/a", "one");
    await commit("three");
    await node.sync();
    await node.answers("/a", "three");
    const [view] = await node.workspaces();
    assert.deepEqual(view!.versions.map(({ state }) => state), ["active", "rolled_back", "kept"]);
  });
});

Deno.test("a node starts with what it had while Git is down, and goes on when it is back", async () => {
  await withScene(async ({ repository, source, server, start }) => {
    await repository.commit({ "flows/a.yaml": answers("/a", "one") });
    const config = { sources: [source({ interval: "1s" })] };
    const first = await start(config);
    await first.answers("/a", "one");
    await first.stop();
    server.fault = () => ({ kind: "answer", response: () => new Response("no", { status: 503 }) });
    const second = await start(config);
    assert.deepEqual(await second.get("/a"), [200, "one"], "at once");
    const state = () => second.runtime.status().sources[0]!;
    await second.until("the trouble is told", () => state().error?.code === "source.unavailable");
    await assert.rejects(() => second.sync(), { code: "source.unavailable" });
    await repository.commit({ "flows/a.yaml": answers("/a", "two") });
    server.fault = undefined;
    await second.answers("/a", "two");
    // The flow may answer before the check is over that brought it.
    await second.until("the trouble is over", () => state().error === undefined);
  });
});

Deno.test("no request fails while its flow is replaced 100 times", async () => {
  await withScene(async ({ repository, start }) => {
    await repository.commit({ "flows/a.yaml": answers("/a", "0") });
    const node = await start();
    await node.answers("/a", "0");
    let stop = false;
    let asked = 0;
    const seen = new Set<unknown>();
    const asking = Array.from({ length: 4 }, async () => {
      while (!stop) {
        const [status, body] = await node.get("/a");
        assert.equal(status, 200, JSON.stringify(body));
        seen.add(body);
        asked++;
      }
    });
    for (const one of asking) one.catch(() => {}); // heard below
    const begin = performance.now();
    try {
      for (let n = 1; n <= 100; n++) {
        await repository.commit({ "flows/a.yaml": answers("/a", String(n)) });
        await node.push();
        await node.until(`${n} is live`, () => seen.has(String(n)));
      }
    } finally {
      stop = true;
    }
    await Promise.all(asking);
    tell(
      `100 commits, each live before the next, under ${asked} requests`,
      performance.now() - begin,
    );
  });
});

Deno.test("a commit of 50 flows goes live as one", async () => {
  await withScene(async ({ repository, start }) => {
    const commit = (text: string) =>
      repository.commit(Object.fromEntries(
        Array.from({ length: 50 }, (_, i) => [`flows/f${i}.yaml`, answers(`/f${i}`, text)]),
      ));
    await commit("0");
    const node = await start();
    await node.answers("/f49", "0");
    const look = async () => {
      // All of them find their routes before anything else can happen.
      const requests = Array.from(
        { length: 50 },
        (_, i) => node.runtime.fetch(new Request(`http://node/f${i}`)),
      );
      const texts = await Promise.all(requests.map(async (one) => await (await one).json()));
      return [...new Set(texts)];
    };
    for (let n = 1; n <= 10; n++) {
      await commit(String(n));
      await node.push();
      await node.until(`${n} is live`, async () => {
        const texts = await look();
        assert.equal(texts.length, 1, `a mixture of ${texts.join(" and ")}`);
        return texts[0] === String(n);
      });
    }
  });
});

Deno.test("what sync and rollback say is live answers already", async () => {
  await withScene(async ({ repository, start }) => {
    const commit = (text: string) => repository.commit({ "flows/a.yaml": answers("/a", text) });
    const one = await commit("one");
    const node = await start();
    await node.answers("/a", "one");
    for (const text of ["two", "three", "four"]) {
      await commit(text);
      assert.equal((await node.sync()).outcome, "activated");
      assert.deepEqual(await node.get("/a"), [200, text]);
    }
    await node.rollback(one);
    assert.deepEqual(await node.get("/a"), [200, "one"]);
  });
});
