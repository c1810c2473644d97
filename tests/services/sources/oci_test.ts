/** An artifact in a real registry, from `flowgen push` to a flow that answers. */
import assert from "node:assert/strict";
import { dirname, join } from "node:path";
import { systemClock } from "../../../src/core/clock.ts";
import { packArtifact, pushArtifact } from "../../../src/parts.ts";
import { cutAfter, FaultProxy } from "../oci/proxy.ts";
import { Registry } from "../oci/registry.ts";
import { answers, CEILING, type Live, promptly, type Scene, withScene } from "./scene.ts";

interface Given extends Pick<Scene, "start" | "source"> {
  readonly proxy: FaultProxy;
  push(files: Record<string, string>): Promise<string>;
  startNode(interval: string): Promise<Live>;
}

async function withArtifact(run: (given: Given) => Promise<void>): Promise<void> {
  await using registry = await Registry.start();
  await using proxy = new FaultProxy(registry.host);
  await withScene(async ({ folder, start, source }) => {
    const push = async (files: Record<string, string>) => {
      const content = join(folder, "content");
      await Deno.remove(content, { recursive: true }).catch(() => {});
      for (const [path, text] of Object.entries(files)) {
        await Deno.mkdir(dirname(join(content, path)), { recursive: true });
        await Deno.writeTextFile(join(content, path), text);
      }
      const { digest } = await pushArtifact(await packArtifact(content), {
        reference: `oci://${registry.host}/acme/flows:main`,
        annotations: {},
        credentials: undefined,
        clock: systemClock,
      });
      return digest;
    };
    const startNode = (interval: string) => {
      const oci = { artifact: `${proxy.host}/acme/flows:main` };
      return start({ sources: [source({ git: undefined, oci, interval })] });
    };
    await run({ proxy, push, startNode, start, source });
  });
}

Deno.test("what flowgen push has pushed is live, by webhook and by polling", async () => {
  await withArtifact(async ({ push, startNode }) => {
    const flow = `flow:
  tasks:
    - http_endpoint: { name: in, endpoint: /a }
    - script: { name: say, code: { resource: say.js } }
`;
    await push({ "flows/a.yaml": flow, "resources/say.js": "return 'one'" });
    const node = await startNode("1s");
    await node.answers("/a", "one");
    let digest = "";
    await promptly("polling each second to live, OCI", 5 * 2_000, async (attempt) => {
      const text = `try ${attempt}`;
      digest = await push({ "flows/a.yaml": flow, "resources/say.js": `return "${text}"` });
      return await node.answers("/a", text);
    });
    // The flow may answer before the check is over that brought it.
    const version = () => node.runtime.status().sources[0]!.version;
    await node.until("the status has its version", () => version() === digest);
    await promptly("webhook to live, OCI", CEILING, async (attempt) => {
      await push({ "flows/a.yaml": answers("/a", `called ${attempt}`) });
      await node.push();
      return await node.answers("/a", `called ${attempt}`);
    });
  });
});

Deno.test("a registry that drops the connection midway changes nothing, and is asked again", async () => {
  await withArtifact(async ({ proxy, push, startNode }) => {
    await push({ "flows/a.yaml": answers("/a", "one") });
    const node = await startNode("1h");
    await node.answers("/a", "one");
    await push({ "flows/a.yaml": answers("/a", "two") });
    proxy.fault = async ({ url, pass }) => {
      const answer = await pass();
      return url.pathname.includes("/blobs/") ? cutAfter(answer, 20) : answer;
    };
    await assert.rejects(() => node.sync(), { code: "source.unavailable" });
    assert.deepEqual(await node.get("/a"), [200, "one"]);
    proxy.fault = ({ pass }) => pass();
    await node.sync();
    await node.answers("/a", "two");
  });
});
