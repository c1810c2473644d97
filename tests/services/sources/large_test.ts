/** Repositories and artifacts as large as the limits let them be. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { Registry } from "../oci/registry.ts";
import { CEILING, promptly, tell, withScene } from "./scene.ts";

/** Answers with the length of a resource. */
const FLOW = `flow:
  tasks:
    - http_endpoint: { name: in, endpoint: "/length/:key" }
    - script:
        name: say
        code: return (await ctx.resource.get(event.data.params.key))?.length ?? null;
`;

/** Memory that this process took more than before, mebibytes. */
function memory(): () => string {
  const before = Deno.memoryUsage().rss;
  return () => `, memory grew by ${Math.round((Deno.memoryUsage().rss - before) / 2 ** 20)} MiB`;
}

Deno.test("a repository of 10,000 files is live as a whole, and one file of it comes alone", async () => {
  await withScene(async ({ repository, server, start }) => {
    const files = Object.fromEntries(
      Array.from({ length: 9_999 }, (_, n) => [`resources/r${n}.txt`, `${n} `.repeat(200)]),
    );
    await repository.commit({ ...files, "flows/a.yaml": FLOW });
    const grown = memory();
    const begin = performance.now();
    const node = await start();
    await node.until("the first version is live", async () => {
      return (await node.get("/length/r9998.txt"))[1] === 1_000;
    });
    tell(`10,000 files to live${grown()}`, performance.now() - begin);
    assert.equal((await node.workspaces())[0]!.versions[0]!.files, 10_000);
    assert.deepEqual(await node.get("/length/r0.txt"), [200, 400]);

    await promptly("one file of them to live", CEILING, async (attempt) => {
      const text = "longer than before".repeat(attempt);
      await repository.commit({ "resources/r7.txt": text });
      server.seen.length = 0;
      const changed = performance.now();
      await node.sync();
      const took = performance.now() - changed;
      assert.deepEqual(await node.get("/length/r7.txt"), [200, text.length]);
      assert.deepEqual(await node.get("/length/r8.txt"), [200, 400]);
      const bytes = server.seen.reduce((sum, one) => sum + one.bytes, 0);
      assert.ok(bytes < 500_000, `${bytes} bytes for one file`);
      return took;
    });
  });
});

Deno.test("100 MB in one layer are live", async () => {
  await using registry = await Registry.start();
  await withScene(async ({ folder, source, start }) => {
    const content = join(folder, "content");
    await Deno.mkdir(join(content, "flows"), { recursive: true });
    await Deno.mkdir(join(content, "resources"));
    await Deno.writeTextFile(join(content, "flows/a.yaml"), FLOW);
    const large = new Uint8Array(10 * 2 ** 20 - 1_000);
    for (let n = 0; n < 10; n++) {
      await Deno.writeFile(join(content, `resources/r${n}.txt`), large.fill(0x30 + n));
    }
    const args = ["-cf", join(folder, "all.tar"), "flows", "resources"];
    assert.ok((await new Deno.Command("tar", { args, cwd: content }).output()).success);
    const artifact = `${registry.host}/acme/flows:main`;
    await registry.oras(["push", artifact, "all.tar:application/vnd.example.tar"], folder);
    const grown = memory();
    const begin = performance.now();
    const node = await start({ sources: [source({ git: undefined, oci: { artifact } })] });
    await node.until("it is live", async () => (await node.get("/length/r9.txt"))[0] === 200);
    tell(`100 MB in one layer to live${grown()}`, performance.now() - begin);
    assert.deepEqual(await node.get("/length/r9.txt"), [200, large.length]);
  });
});
