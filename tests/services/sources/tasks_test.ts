/** Flows that bring flows: `git_sync`, `oci_sync` and `workspace_publish`, and the long way by keys. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { systemClock } from "../../../src/core/clock.ts";
import { packArtifact, pushArtifact } from "../../../src/parts.ts";
import { client } from "../nats/flows.ts";
import { startNats } from "../nats/server.ts";
import { Registry } from "../oci/registry.ts";
import { answers, type Scene, withScene } from "./scene.ts";

const EXAMPLES = join(import.meta.dirname!, "../../../examples");

/** Puts a bootstrap flow of the examples among the files of a node, for the servers of the test. */
async function bootstrap(
  { folder, server }: Scene,
  example: string,
  replace: Readonly<Record<string, string>> = {},
): Promise<{ path: string }> {
  let text = await Deno.readTextFile(join(EXAMPLES, example));
  const all = {
    "https://github.com/acme/platform.git": `${server.url}/flows.git`,
    "interval: 1m": "interval: 500ms",
    ...replace,
  };
  for (const [from, to] of Object.entries(all)) text = text.replace(from, to);
  text = text.replace(/ +credentials_path: .*\n/, "");
  const path = join(folder, "flows");
  await Deno.mkdir(path, { recursive: true });
  await Deno.writeTextFile(join(path, "sync.yaml"), text);
  return { path };
}

Deno.test("the bootstrap flow for Git publishes a repository, and again what is new only", async () => {
  await withScene(async (scene) => {
    const { repository, server, start } = scene;
    const flow = `flow:
  tasks:
    - http_endpoint: { name: in, endpoint: /a }
    - script: { name: say, code: { resource: say.js } }
`;
    const commit = (text: string) =>
      repository.commit({ "flows/a.yaml": flow, "resources/say.js": `return "${text}"` });
    await commit("one");
    const flows = await bootstrap(scene, "git/system_sync_flows.yaml");
    const config = { flows, sources: [] };
    const node = await start(config);
    await node.answers("/a", "one");
    await commit("two");
    await node.answers("/a", "two");
    const [view] = await node.workspaces();
    assert.deepEqual([view!.name, view!.versions.map(({ state }) => state)], [
      "platform",
      ["active", "kept"],
    ]);
    await node.stop();

    server.seen.length = 0;
    const again = await start(config);
    assert.deepEqual(await again.get("/a"), [200, "two"], "from the store");
    await again.until("it has looked twice", () => server.seen.length >= 4);
    const fetched = server.seen.filter(({ body }) => body.includes("command=fetch"));
    assert.equal(fetched.length, 0, "what was seen before the restart is not fetched");
  });
});

Deno.test("the bootstrap flow for OCI publishes an artifact", async () => {
  await using registry = await Registry.start();
  await withScene(async (scene) => {
    const { folder, start, write } = scene;
    await Deno.mkdir(join(folder, "content/flows"), { recursive: true });
    const push = async (text: string) => {
      await write("content/flows/a.yaml", answers("/a", text));
      await pushArtifact(await packArtifact(join(folder, "content")), {
        reference: `oci://${registry.host}/acme/platform:production`,
        annotations: {},
        credentials: undefined,
        clock: systemClock,
      });
    };
    await push("one");
    const flows = await bootstrap(scene, "oci/system_sync_flows.yaml", {
      "ghcr.io": registry.host,
    });
    const node = await start({ flows, sources: [] });
    await node.answers("/a", "one");
    await push("two");
    await node.answers("/a", "two");
  });
});

Deno.test("a flow cannot publish what a source of that name would have refused", async () => {
  await withScene(async (scene) => {
    const { repository, source, start } = scene;
    await repository.commit({ "flows/a.yaml": answers("/a", "one") });
    const flows = await bootstrap(scene, "git/system_sync_flows.yaml", {
      "workspace: platform": "workspace: demo",
    });
    const keys = [
      "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
    ];
    const node = await start({ flows, sources: [source({ verify: { ssh_keys: keys } })] });
    await assert.rejects(() => node.sync(), { code: "source.unverified" });
    await node.until("publishing has failed", () => {
      const [flow] = node.runtime.status().flows;
      return flow!.tasks.some(({ task, failed }) => task === "publish" && failed > 0);
    });
    assert.deepEqual(await node.workspaces(), []);
  });
});

Deno.test("resources that a flow keeps in NATS reach the flows that refer to them", async () => {
  await using nats = await startNats();
  await withScene(async (scene) => {
    const { repository, start, write } = scene;
    const binary = new Uint8Array([0xff, 0, 0xfe]);
    await repository.commit({
      "resources/say.js": "return 'one'",
      "resources/logo.bin": binary,
      "resources/old.sql": "select 1",
    });
    const flows = await bootstrap(scene, "git/system_sync_resources.yaml");
    await write(
      "flows/say.yaml",
      `flow:
  tasks:
    - http_endpoint: { name: in, endpoint: /say }
    - script: { name: say, code: { resource: say.js } }
`,
    );
    const node = await start({
      cache: { type: "nats", url: nats.url },
      flows,
      resources: { cache: { enabled: true } },
      sources: [],
    });
    await node.answers("/say", "one");
    await repository.commit({ "resources/say.js": "return 'two'", "resources/old.sql": null });
    await node.answers("/say", "two");
    await using tool = await client(nats.url);
    const { Kvm } = await import("@nats-io/kv");
    const bucket = await new Kvm(tool.connection).open("flowgen_system");
    await node.until("what is gone is deleted", async () => {
      return (await bucket.get("resources.old.sql"))?.operation !== "PUT";
    });
    assert.deepEqual((await bucket.get("resources.logo.bin"))!.value, binary);
  });
});

/** As people wrote it before there were workspaces: files in a batch, compared with the keys there are. */
const LONG = (url: string) =>
  `flow:
  name: sync
  tasks:
    - generate: { name: tick, interval: 500ms }
    - git_sync: { name: pull, repository_url: "${url}", branch: main, path: flows }
    - buffer: { name: all, size: 10000, timeout: 5s, flush_on_completion: true }
    - script:
        name: wanted
        code: |
          ctx.meta.files = event.data.batch;
          return {};
    - nats_kv_store:
        name: stored
        bucket: flowgen_system
        operation: list
        key_prefix: flows.
        include_values: true
    - script:
        name: changes
        code: |
          const { keys, values } = event.data;
          const keyOf = (path) => "flows." + path.replace(/\\.ya?ml$/, "");
          const wanted = ctx.meta.files.map(({ path, content }) => ({ op: "put", key: keyOf(path), content }));
          const known = new Set(wanted.map(({ key }) => key));
          return [
            ...wanted.filter(({ key, content }) => values[key] !== content),
            ...keys.filter((key) => !known.has(key)).map((key) => ({ op: "delete", key })),
          ];
    - filter: { name: to_put, script: 'event.data.op === "put"' }
    - nats_kv_store: { name: put, bucket: flowgen_system, operation: put, key: "{{event.data.key}}" }
    - filter: { name: to_delete, script: 'event.data.op === "delete"', depends_on: [changes] }
    - nats_kv_store: { name: delete, bucket: flowgen_system, operation: delete, key: "{{event.data.key}}" }
`;

Deno.test("flows reach the nodes the long way too, key by key", async () => {
  await using nats = await startNats();
  await withScene(async ({ folder, repository, server, start, write }) => {
    await repository.commit({
      "flows/demo/a.yaml": answers("/a", "one"),
      "flows/b.yaml": answers("/b", "one"),
    });
    const path = join(folder, "flows");
    await Deno.mkdir(path);
    await write("flows/sync.yaml", LONG(`${server.url}/flows.git`));
    const node = await start({
      cache: { type: "nats", url: nats.url },
      flows: { path, cache: { enabled: true } },
      sources: [],
    });
    await node.answers("/a", "one");
    await node.answers("/b", "one");
    assert.deepEqual(node.flows(), { b: "running", "demo/a": "running", sync: "running" });
    await repository.commit({ "flows/demo/a.yaml": answers("/a", "two"), "flows/b.yaml": null });
    await node.answers("/a", "two");
    await node.until("b is gone", () => !("b" in node.flows()));
    assert.equal((await node.get("/b"))[0], 404);
  });
});
