import assert from "node:assert/strict";
import { FileResources } from "./file_resources.ts";

async function withFolder(run: (folder: string) => Promise<void>): Promise<void> {
  const folder = await Deno.makeTempDir();
  try {
    await Deno.mkdir(`${folder}/root/queries`, { recursive: true });
    await Deno.writeTextFile(`${folder}/root/queries/orders.sql`, "select 1");
    await Deno.writeTextFile(`${folder}/secret`, "told");
    await run(folder);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

Deno.test("a resource is read by its key", () =>
  withFolder(async (folder) => {
    const { file, bytes } = await new FileResources(`${folder}/root`).read("queries/orders.sql");
    assert.equal(new TextDecoder().decode(bytes), "select 1");
    assert.equal(file, `${folder}/root/queries/orders.sql`);
  }));

Deno.test("keys that could leave the folder are refused", () =>
  withFolder(async (folder) => {
    const resources = new FileResources(`${folder}/root`);
    for (
      const key of [
        "../secret",
        "a/../../secret",
        "/etc/passwd",
        "a\\b",
        "a\0b",
        "",
        ".",
        "a//b",
        "C:/x",
      ]
    ) {
      await assert.rejects(resources.read(key), { code: "resource.key_invalid" }, key);
    }
  }));

Deno.test("a link may stay inside the folder, as mounts do, but not lead out", () =>
  withFolder(async (folder) => {
    await Deno.symlink("queries", `${folder}/root/..data`);
    await Deno.symlink("..data/orders.sql", `${folder}/root/linked.sql`);
    await Deno.symlink("../secret", `${folder}/root/out`);
    const resources = new FileResources(`${folder}/root`);
    assert.equal((await resources.read("linked.sql")).bytes.length, 8);
    await assert.rejects(resources.read("out"), { code: "resource.key_invalid" });
  }));

Deno.test("a missing resource comes with the names that are there", () =>
  withFolder(async (folder) => {
    const resources = new FileResources(`${folder}/root`);
    await assert.rejects(resources.read("queries/order.sql"), {
      code: "resource.missing",
      hint: 'did you mean "queries/orders.sql"?',
    });
    await assert.rejects(resources.read("queries/zzzzzz"), {
      code: "resource.missing",
      hint: 'there is "queries/orders.sql"',
    });
    await assert.rejects(resources.read("nope/x"), {
      code: "resource.missing",
      hint: 'there is no folder "nope"',
    });
    await assert.rejects(resources.read("queries"), { code: "resource.unreadable" });
  }));

Deno.test("without a folder, reading says what to configure", async () => {
  await assert.rejects(new FileResources(undefined).read("a"), {
    code: "resource.not_configured",
    hint: "set resources.path in config.yaml to the folder it is in",
  });
});
