/** Webhooks of a whole runtime: where they are, and where they are not. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { createRuntime } from "../mod.ts";
import { silentLog } from "../src/core/log.ts";

const GREEDY = `flow:
  tasks:
    - http_endpoint: { name: in, endpoint: "/webhooks/sources/:name", method: POST }
    - http_respond: { name: out, body: mine }
`;

/** Status of a POST to each path, by a node whose flow would answer them too. */
async function statuses(config: Record<string, unknown>, ...paths: string[]): Promise<number[]> {
  const folder = await Deno.makeTempDir();
  try {
    await Deno.writeTextFile(join(folder, "greedy.yaml"), GREEDY);
    await using runtime = createRuntime(
      { cache: { type: "memory" }, flows: { path: folder, watch: false }, ...config },
      { listen: false, log: silentLog },
    );
    await runtime.start();
    const asked = paths.map(async (path) => {
      const headers = { "x-gitlab-token": "secret" };
      const request = new Request(`http://node${path}`, { method: "POST", headers });
      const response = await runtime.fetch(request);
      await response.body?.cancel();
      return response.status;
    });
    return await Promise.all(asked);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

const source = (webhook?: Record<string, string>) => ({
  name: "demo",
  git: { url: "http://127.0.0.1:9/flows.git" },
  webhook,
});

Deno.test("webhooks stand below http_server.path, in front of flows", async () => {
  const sources = [source({ type: "gitlab", secret: "secret" })];
  const paths = ["/webhooks/sources/demo", "/api/webhooks/sources/demo"];
  assert.deepEqual(await statuses({ sources }, ...paths), [202, 404]);
  assert.deepEqual(await statuses({ sources, http_server: { path: "/api" } }, ...paths), [
    404,
    202,
  ]);
});

Deno.test("without a webhook their path is any flow's, and no source can be called", async () => {
  assert.deepEqual(await statuses({ sources: [source()] }, "/webhooks/sources/demo"), [200]);
});
