/** An artifact in a real registry, from `flowgen push` to a flow that answers. */
import assert from "node:assert/strict";
import { dirname, join } from "node:path";
import { systemClock } from "../../../src/core/clock.ts";
import { packArtifact, pushArtifact } from "../../../src/parts.ts";
import { cutAfter, FaultProxy } from "../oci/proxy.ts";
import { Registry } from "../oci/registry.ts";
import { answers, CEILING, type Live, type Scene, tell, withScene } from "./scene.ts";

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
    const digest = await push({ "flows/a.yaml": flow, "resources/say.js": "return 'two'" });
    tell("polling each second to live, OCI", await node.answers("/a", "two", 5 * 2_000));
    assert.equal(node.runtime.status().sources[0]!.version, digest);
    await push({ "flows/a.yaml": answers("/a", "three") });
    await node.push();
    tell("webhook to live, OCI", await node.answers("/a", "three", CEILING));
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
