import assert from "node:assert/strict";
import { join } from "node:path";
import { createRuntime, defineTask, type Runtime } from "../mod.ts";
import { silentLog } from "../src/core/log.ts";
import { checkConfig } from "../src/config/load.ts";
import * as v from "valibot";

/** A runtime over a folder of flow files, with everything on free ports and in a folder of its own. */
async function withRuntime(
  files: Record<string, string>,
  run: (tools: {
    runtime: Runtime;
    folder: string;
    save(name: string, text: string): Promise<void>;
    call(path: string, init?: RequestInit): Promise<Response>;
    until(what: () => boolean | Promise<boolean>): Promise<void>;
  }) => Promise<void>,
  config: Record<string, unknown> = {},
  options: Parameters<typeof createRuntime>[1] = {},
) {
  const folder = await Deno.makeTempDir({ prefix: "flowgen-" });
  const save = async (name: string, text: string) => {
    await Deno.mkdir(join(folder, name, ".."), { recursive: true });
    await Deno.writeTextFile(join(folder, name), text);
  };
  for (const [name, text] of Object.entries(files)) await save(name, text);
  const checked = checkConfig({
    flows: { path: join(folder, "flows") },
    resources: { path: join(folder, "resources") },
    cache: { path: join(folder, "store.sqlite3") },
    http_server: { port: 0, hostname: "127.0.0.1" },
    health: { port: 0 },
    ...config,
  });
  const runtime = createRuntime(checked, { log: silentLog, ...options });
  await runtime.start();
  try {
    await run({
      runtime,
      folder,
      save,
      call: (path, init) => fetch(`http://127.0.0.1:${runtime.status().http!.port}${path}`, init),
      async until(what) {
        // Only for what hangs: a busy machine takes longer than the promised second.
        const end = performance.now() + 60_000;
        while (!await what()) {
          assert.ok(performance.now() < end, "it did not happen in time");
          await new Promise((resolve) => setTimeout(resolve, 10));
        }
      },
    });
  } finally {
    await runtime.stop(5_000);
    await Deno.remove(folder, { recursive: true });
  }
}

const hello = (text: string) =>
  `flow:
  tasks:
    - http_endpoint: { name: in, endpoint: /hello }
    - http_respond: { name: out, body: "${text}" }
`;

const text = async (response: Response) => [response.status, await response.text()];

Deno.test("a flow file answers requests, and a saved change is live without a restart", async () => {
  await withRuntime({ "flows/hello.yaml": hello("one") }, async ({ call, save, until }) => {
    assert.deepEqual(await text(await call("/hello")), [200, '"one"']);
    await save("flows/hello.yaml", hello("two"));
    await until(async () => (await text(await call("/hello")))[1] === '"two"');
  });
});

Deno.test("a file that goes bad leaves its last good version answering and says where", async () => {
  await withRuntime(
    { "flows/hello.yaml": hello("one") },
    async ({ runtime, call, save, until }) => {
      await save("flows/hello.yaml", hello("two").replace(" endpoint:", " endpoynt:"));
      await until(() => runtime.status().flows[0]!.state === "invalid");
      const [status] = runtime.status().flows;
      assert.equal(status!.error!.code, "config.unknown_key");
      assert.deepEqual([status!.error!.position!.line, status!.error!.position!.column], [3, 34]);
      assert.deepEqual(await text(await call("/hello")), [200, '"one"']);
      await save("flows/hello.yaml", hello("three"));
      await until(async () => (await text(await call("/hello")))[1] === '"three"');
      assert.equal(runtime.status().flows[0]!.state, "running");
    },
  );
});

Deno.test("a new file starts, and a removed one stops", async () => {
  await withRuntime({}, async ({ runtime, folder, call, save, until }) => {
    assert.equal((await text(await call("/hello")))[0], 404);
    await save("flows/hello.yaml", hello("one"));
    await until(() => runtime.status().flows.length === 1);
    assert.equal((await text(await call("/hello")))[0], 200);
    await Deno.remove(join(folder, "flows/hello.yaml"));
    await until(() => runtime.status().flows.length === 0);
    assert.equal((await text(await call("/hello")))[0], 404);
  });
});

Deno.test("a changed script file reloads the flows that refer to it", async () => {
  const flow = `flow:
  tasks:
    - http_endpoint: { name: in, endpoint: /n }
    - script: { name: make, code: { resource: make.js } }
`;
  await withRuntime({
    "flows/n.yaml": flow,
    "resources/make.js": "return 1;",
  }, async ({ call, save, until }) => {
    assert.deepEqual(await text(await call("/n")), [200, "1"]);
    await save("resources/make.js", "return 2;");
    await until(async () => (await text(await call("/n")))[1] === "2");
  }, { scripts: { isolation: "none" } });
});

Deno.test("no request fails while its flow is replaced again and again", async () => {
  await withRuntime({ "flows/hello.yaml": hello("0") }, async ({ call, save, until }) => {
    let stop = false;
    const answers = new Set<string>();
    const asking = Array.from({ length: 4 }, async () => {
      while (!stop) {
        const [status, body] = await text(await call("/hello"));
        assert.equal(status, 200, String(body));
        answers.add(String(body));
      }
    });
    for (let n = 1; n <= 10; n++) {
      await save("flows/hello.yaml", hello(String(n)));
      await until(() => answers.has(`"${n}"`));
    }
    stop = true;
    await Promise.all(asking);
  });
});

Deno.test("stop finishes a request that is under way", async () => {
  const release = Promise.withResolvers<void>();
  const reached = Promise.withResolvers<void>();
  const wait = defineTask({
    type: "wait_for_test",
    mode: "async",
    summary: "Waits until the test says so.",
    config: v.strictObject({}),
    examples: [],
    create: () => async (event) => {
      reached.resolve();
      await release.promise;
      return event;
    },
  });
  const flow = `flow:
  tasks:
    - http_endpoint: { name: in, endpoint: /slow }
    - wait_for_test: { name: wait }
    - http_respond: { name: out, body: done }
`;
  await withRuntime(
    { "flows/slow.yaml": flow },
    async ({ runtime, call }) => {
      const answer = call("/slow");
      await reached.promise;
      const stopped = runtime.stop(5_000);
      release.resolve();
      assert.deepEqual(await text(await answer), [200, '"done"']);
      assert.equal(await stopped, true);
    },
    {},
    { tasks: [wait] },
  );
});

Deno.test("of two flows with one route the second is invalid and the first answers", async () => {
  await withRuntime({
    "flows/a.yaml": hello("a"),
    "flows/b.yaml": hello("b"),
  }, async ({ runtime, call }) => {
    assert.deepEqual(runtime.status().flows.map((one) => [one.identity, one.state]), [
      ["a", "running"],
      ["b", "invalid"],
    ]);
    assert.equal(
      runtime.status().flows[1]!.error!.message,
      'Cannot claim "http GET /hello": flow "a" already holds it',
    );
    assert.deepEqual(await text(await call("/hello")), [200, '"a"']);
  });
});

Deno.test("one flow's trouble keeps no other from starting, and readiness names it", async () => {
  await withRuntime({
    "flows/bad.yaml": "flow:\n  tasks:\n    - nonsense: { name: x }\n",
    "flows/good.yaml": hello("good"),
  }, async ({ runtime, call }) => {
    assert.deepEqual(await text(await call("/hello")), [200, '"good"']);
    const ready = await fetch(`http://127.0.0.1:${runtime.status().health!.port}/readyz`);
    assert.equal(ready.status, 200);
    const body = await ready.json();
    assert.deepEqual(body.not_running.map((one: { flow: string }) => one.flow), ["bad"]);
  });
});

Deno.test("a second runtime on the same store is refused and leaves nothing open", async () => {
  await withRuntime({ "flows/hello.yaml": hello("one") }, async ({ runtime, folder }) => {
    const second = createRuntime({
      cache: { path: join(folder, "store.sqlite3") },
      http_server: { port: 0 },
      health: { port: 0 },
    }, { log: silentLog });
    await assert.rejects(() => second.start(), { code: "store.locked" });
    assert.equal(runtime.status().state, "running");
  });
});

Deno.test("an event of 50 MB passes through, and one over the limit is refused", async () => {
  const flow = `flow:
  tasks:
    - http_endpoint: { name: in, endpoint: /big, method: POST, max_body_bytes: 60MiB }
    - script: { name: length, code: "return event.data.payload.length" }
`;
  await withRuntime({ "flows/big.yaml": flow }, async ({ call }) => {
    const send = (size: number) =>
      call("/big", {
        method: "POST",
        body: "x".repeat(size),
        headers: { "content-type": "text/plain" },
      });
    assert.deepEqual(await text(await send(50_000_000)), [200, "50000000"]);
    const [status, body] = await text(await send(70_000_000));
    assert.equal(status, 413);
    assert.match(String(body), /http\.body_too_large/);
  }, { scripts: { isolation: "none" } });
});

Deno.test("one handler serves endpoints and health for hosts that own the listener", async () => {
  const folder = await Deno.makeTempDir();
  await Deno.writeTextFile(join(folder, "hello.yaml"), hello("edge"));
  const runtime = createRuntime(
    { cache: { type: "memory" }, flows: { path: folder, watch: false } },
    { listen: false, log: silentLog },
  );
  const early = runtime.fetch(new Request("http://edge/hello"));
  await runtime.start();
  assert.deepEqual(await text(await early), [200, '"edge"'], "it waited for the flows");
  assert.equal((await runtime.fetch(new Request("http://edge/readyz"))).status, 200);
  await runtime.stop();
  await Deno.remove(folder, { recursive: true });
});

Deno.test("a runtime that is stopped while it starts closes everything", async () => {
  const folder = await Deno.makeTempDir();
  const config = {
    cache: { path: join(folder, "store.sqlite3") },
    http_server: { port: 0 },
    health: { port: 0 },
    control: { path: join(folder, "control.sock") },
  };
  const runtime = createRuntime(config, { log: silentLog });
  const started = runtime.start();
  const refused = assert.rejects(started, { code: "runtime.stopped" });
  assert.equal(await runtime.stop(), true);
  await refused;
  assert.equal(runtime.status().state, "stopped");
  const second = createRuntime(config, { log: silentLog });
  await second.start();
  await second.stop();
  await Deno.remove(folder, { recursive: true });
});

Deno.test("a runtime starts once, and stops once however often it is asked", async () => {
  const runtime = createRuntime({ cache: { type: "memory" } }, { listen: false, log: silentLog });
  await runtime.start();
  await assert.rejects(() => runtime.start(), { code: "runtime.started_twice" });
  assert.equal(runtime.stop(), runtime.stop());
  assert.equal(await runtime.stop(), true);
  const answer = await runtime.fetch(new Request("http://edge/hello"));
  assert.equal(answer.status, 503);
  await answer.body?.cancel();
});

Deno.test("a store that cannot be opened leaves nothing open, and no request waits for ever", async () => {
  const file = await Deno.makeTempFile();
  const runtime = createRuntime({
    cache: { path: join(file, "store.sqlite3") },
    http_server: { port: 0 },
    health: { port: 0 },
  }, { log: silentLog });
  const early = runtime.fetch(new Request("http://edge/hello"));
  await assert.rejects(() => runtime.start(), { code: "store.path_unwritable" });
  assert.equal((await early).status, 503);
  await (await early).body?.cancel();
  await Deno.remove(file);
});

Deno.test("health has a port of its own, which the callers of flows do not see", async () => {
  await withRuntime({ "flows/hello.yaml": hello("one") }, async ({ runtime, call }) => {
    assert.equal((await text(await call("/readyz")))[0], 404);
    const ready = await fetch(`http://127.0.0.1:${runtime.status().health!.port}/readyz`);
    assert.equal((await text(ready))[0], 200);
  });
});

Deno.test("a resource is looked for beside the flows first, then in resources.path", async () => {
  const flow = (path: string) =>
    `flow:
  tasks:
    - http_endpoint: { name: in, endpoint: /${path} }
    - script: { name: make, code: { resource: ${path}.js } }
`;
  await withRuntime({
    "flows/both.yaml": flow("both"),
    "flows/both.js": "return 'beside';",
    "flows/far.yaml": flow("far"),
    "resources/both.js": "return 'shared';",
    "resources/far.js": "return 'shared';",
  }, async ({ call, save, until }) => {
    assert.deepEqual(await text(await call("/both")), [200, '"beside"']);
    assert.deepEqual(await text(await call("/far")), [200, '"shared"']);
    await save("flows/both.js", "return 'changed';");
    await until(async () => (await text(await call("/both")))[1] === '"changed"');
  }, { scripts: { isolation: "none" } });
});

Deno.test("nobody who looks at a runtime sees its secrets", () => {
  const auth = { type: "jwt" as const, secret: "hunter2" };
  const runtime = createRuntime({ http_server: { auth } });
  assert.doesNotMatch(Deno.inspect(runtime, { depth: 9 }) + JSON.stringify(runtime), /hunter2/);
});
