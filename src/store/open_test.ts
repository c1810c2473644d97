import assert from "node:assert/strict";
import { TestClock } from "../core/clock.ts";
import { openDenoKv } from "./open.ts";

const clock = new TestClock();
const value = new TextEncoder().encode("kept");

async function withFolder(run: (folder: string) => Promise<void>): Promise<void> {
  const folder = await Deno.makeTempDir({ prefix: "flowgen-open-" });
  try {
    await run(folder);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

/** Another process that opens the store, says so, and stays until it is killed. */
async function startOwner(path: string): Promise<Deno.ChildProcess> {
  const code = `
    import { openDenoKv } from ${JSON.stringify(import.meta.resolve("./open.ts"))};
    import { systemClock } from ${JSON.stringify(import.meta.resolve("../core/clock.ts"))};
    const store = await openDenoKv(${JSON.stringify(path)}, systemClock);
    await store.put(["a"], new TextEncoder().encode("kept"));
    console.log("ready");
    setInterval(() => {}, 60_000);
  `;
  const config = new URL("../../deno.json", import.meta.url).pathname;
  const child = new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "--no-check", "--unstable-kv", "--config", config, "-"],
    stdin: "piped",
    stdout: "piped",
  }).spawn();
  const stdin = child.stdin.getWriter();
  await stdin.write(new TextEncoder().encode(code));
  await stdin.close();
  const lines = child.stdout.getReader();
  const first = await lines.read();
  assert.equal(new TextDecoder().decode(first.value), "ready\n");
  await lines.cancel();
  return child;
}

Deno.test("a store in a file belongs to one process, until that is killed", async () => {
  await withFolder(async (folder) => {
    const path = `${folder}/store.sqlite3`;
    const owner = await startOwner(path);
    await assert.rejects(openDenoKv(path, clock), {
      code: "store.locked",
      message: `Cannot open the store ${path}: process ${owner.pid} is using it`,
      hint: "ask the running flowgen with `flowgen status`, stop it, or set another cache.path",
    });
    owner.kill("SIGKILL");
    await owner.status;
    await using store = await openDenoKv(path, clock);
    assert.deepEqual((await store.get(["a"]))?.value, value);
  });
});

Deno.test("a store in a file is free again once it is disposed", async () => {
  await withFolder(async (folder) => {
    const path = `${folder}/store.sqlite3`;
    const first = await openDenoKv(path, clock);
    await assert.rejects(openDenoKv(path, clock), { code: "store.locked" });
    await first.put(["a"], value);
    await first[Symbol.asyncDispose]();
    await first[Symbol.asyncDispose]();
    await using second = await openDenoKv(path, clock);
    assert.deepEqual((await second.get(["a"]))?.value, value);
    await assert.rejects(openDenoKv(path, clock), {
      message: `Cannot open the store ${path}: process ${Deno.pid} is using it`,
    });
  });
});

Deno.test("the folders of a store are created where missing", async () => {
  await withFolder(async (folder) => {
    const path = `${folder}/deep/.flowgen/store.sqlite3`;
    await using _ = await openDenoKv(path, clock);
    assert.ok((await Deno.stat(path)).isFile);
  });
});

Deno.test("a store that cannot be written is refused with its path and the reason", async () => {
  await withFolder(async (folder) => {
    await Deno.writeTextFile(`${folder}/file`, "text");
    await Deno.mkdir(`${folder}/folder.sqlite3`);
    for (const path of [`${folder}/file/store.sqlite3`, `${folder}/folder.sqlite3`]) {
      await assert.rejects(openDenoKv(path, clock), {
        code: "store.path_unwritable",
        message: new RegExp(`^Cannot write the store ${path}: `),
        hint: "set cache.path to a file in a folder that this user may write",
      });
    }
    // The lock was given back: with the obstacle gone, the same path works.
    await Deno.remove(`${folder}/folder.sqlite3`);
    await using _ = await openDenoKv(`${folder}/folder.sqlite3`, clock);
  });
});

Deno.test("a file that is no store is refused and left as it is", async () => {
  await withFolder(async (folder) => {
    const path = `${folder}/notes.txt`;
    await Deno.writeTextFile(path, "not a database, but long enough to look like one".repeat(100));
    await assert.rejects(openDenoKv(path, clock), { code: "store.file_invalid" });
    await assert.rejects(openDenoKv(path, clock), { code: "store.file_invalid" });
    assert.match(await Deno.readTextFile(path), /^not a database/);
  });
});
