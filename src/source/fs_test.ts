import assert from "node:assert/strict";
import { type Clock, systemClock } from "../core/clock.ts";
import { identityOfPath } from "../flow/source.ts";
import { FsSource } from "./fs.ts";

async function withFiles(
  files: Record<string, string>,
  run: (folder: string) => Promise<void>,
): Promise<void> {
  const folder = await Deno.makeTempDir();
  try {
    for (const [name, text] of Object.entries(files)) await write(folder, name, text);
    await run(folder);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

async function write(folder: string, name: string, text: string): Promise<void> {
  const slash = name.lastIndexOf("/");
  if (slash > 0) await Deno.mkdir(`${folder}/${name.slice(0, slash)}`, { recursive: true });
  await Deno.writeTextFile(`${folder}/${name}`, text);
}

async function paths(path: string): Promise<string[]> {
  const snapshot = await new FsSource({ path, clock: systemClock }).read(null);
  return [...snapshot!.files.keys()];
}

Deno.test("an identity is the path below the root without the last extension", () => {
  assert.equal(identityOfPath("demo/reader.yaml"), "demo/reader");
  assert.equal(identityOfPath("a.b.yaml"), "a.b");
  assert.equal(identityOfPath(".y/z"), ".y/z");
});

Deno.test("a folder gives its flow files at any depth, hidden ones left out", () =>
  withFiles({
    "b.yaml": "",
    "a/c.yml": "",
    "a/d.json": "",
    "a/e.txt": "",
    ".git/f.yaml": "",
    "a/.hidden.yaml": "",
  }, async (folder) => {
    assert.deepEqual(await paths(folder), ["a/c.yml", "a/d.json", "b.yaml"]);
  }));

Deno.test("a pattern and a single file choose among them", () =>
  withFiles({ "b.yaml": "", "a/c.yaml": "", "a/d/e.yaml": "", "a/f.yml": "" }, async (folder) => {
    assert.deepEqual(await paths(`${folder}/*.yaml`), ["b.yaml"]);
    assert.deepEqual(await paths(`${folder}/a/**/*.yaml`), ["c.yaml", "d/e.yaml"]);
    assert.deepEqual(await paths(`${folder}/*/c.*`), ["a/c.yaml"]);
    assert.deepEqual(await paths(`${folder}/a/c.yaml`), ["c.yaml"]);
  }));

Deno.test("files are read again only when they changed, and a version changes with content only", () =>
  withFiles({ "a.yaml": "one", "b.yaml": "two" }, async (folder) => {
    const source = new FsSource({ path: folder, clock: systemClock });
    const first = await source.read(null);
    assert.equal(await source.read(first!.version), null);
    await Deno.utime(`${folder}/a.yaml`, new Date(0), new Date(0));
    assert.equal(await source.read(first!.version), null, "the same content is no change");
    await write(folder, "a.yaml", "ONE");
    const second = await source.read(first!.version);
    assert.equal(second?.files.get("a.yaml")?.text(), "ONE");
    assert.equal(second?.files.get("b.yaml"), first?.files.get("b.yaml"));
    assert.notEqual(second?.version, first?.version);
    const other = await new FsSource({ path: folder, clock: systemClock }).read(null);
    assert.equal(other?.version, second?.version, "equal files have equal versions");
  }));

Deno.test("two files of one identity are both reported, and neither counts", () =>
  withFiles({ "a.yaml": "", "a.json": "{}", "b.yaml": "" }, async (folder) => {
    const snapshot = await new FsSource({ path: folder, clock: systemClock }).read(null);
    assert.deepEqual([...snapshot!.files.keys()], ["b.yaml"]);
    assert.deepEqual(
      snapshot?.problems.map(({ identity, error }) => [identity, error.code, error.position?.file]),
      ["json", "yaml"].map((end) => ["a", "flow.duplicate_identity", `${folder}/a.${end}`]),
    );
  }));

Deno.test("a missing folder is an empty snapshot that says so", () =>
  withFiles({}, async (folder) => {
    const source = new FsSource({ path: `${folder}/flows`, clock: systemClock });
    const first = await source.read(null);
    assert.equal(first?.files.size, 0);
    assert.deepEqual(first?.problems.map(({ error }) => error.code), ["source.missing"]);
    await write(folder, "flows/a.yaml", "");
    const second = await source.read(first!.version);
    assert.deepEqual([...second!.files.keys()], ["a.yaml"]);
    assert.deepEqual(second?.problems, []);
  }));

Deno.test("links are followed, once for each file and never in circles", () =>
  withFiles(
    { "data/..v1/a.yaml": "one", "data/..v2/a.yaml": "two", "b.yaml": "" },
    async (folder) => {
      await Deno.symlink("..v1", `${folder}/data/..data`);
      await Deno.symlink("..data/a.yaml", `${folder}/data/a.yaml`);
      await Deno.symlink("b.yaml", `${folder}/alias.yaml`);
      await Deno.symlink("..", `${folder}/data/up`);
      await Deno.symlink("nowhere.yaml", `${folder}/dangling.yaml`);
      const source = new FsSource({ path: folder, clock: systemClock });
      const first = await source.read(null);
      assert.deepEqual([...first!.files.keys()], ["b.yaml", "data/a.yaml"]);
      // What Kubernetes does when a ConfigMap changes.
      await Deno.symlink("..v2", `${folder}/data/..data_tmp`);
      await Deno.rename(`${folder}/data/..data_tmp`, `${folder}/data/..data`);
      const second = await source.read(first!.version);
      assert.equal(second?.files.get("data/a.yaml")?.text(), "two");
    },
  ));

Deno.test("a file that is no UTF-8 spoils only itself", () =>
  withFiles({ "a.yaml": "fine" }, async (folder) => {
    await Deno.writeFile(`${folder}/b.yaml`, new Uint8Array([0xff, 0xfe]));
    const snapshot = await new FsSource({ path: folder, clock: systemClock }).read(null);
    assert.equal(snapshot?.files.get("a.yaml")?.text(), "fine");
    assert.throws(() => snapshot?.files.get("b.yaml")?.text(), { code: "source.not_text" });
    assert.deepEqual(snapshot?.files.get("b.yaml")?.bytes(), new Uint8Array([0xff, 0xfe]));
  }));

Deno.test("a saved file is noticed by the operating system's own events", () =>
  withFiles({ "a.yaml": "one" }, async (folder) => {
    const stop = new AbortController();
    // The look at the disk every five seconds, which finds changes too, comes when all is lost only.
    let looked = false;
    const clock: Clock = {
      ...systemClock,
      after(ms, run) {
        if (ms < 5_000) return systemClock.after(ms, run);
        return systemClock.after(60_000, () => (looked = true, run()));
      },
    };
    const source = new FsSource({ path: folder, clock });
    const first = await source.read(null);
    const nudges = source.watch(stop.signal)[Symbol.asyncIterator]();
    await nudges.next();
    // An editor's way: write beside, then replace.
    await write(folder, "a.yaml~", "two");
    await Deno.rename(`${folder}/a.yaml~`, `${folder}/a.yaml`);
    await nudges.next();
    assert.ok(!looked, "no event came");
    const second = await source.read(first!.version);
    assert.equal(second?.files.get("a.yaml")?.text(), "two");
    stop.abort();
    assert.equal((await nudges.next()).done, true);
  }));
