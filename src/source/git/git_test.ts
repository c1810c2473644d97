import assert from "node:assert/strict";
import { TestClock } from "../../core/clock.ts";
import { silentLog } from "../../core/log.ts";
import { GitSource, type GitSourceOptions } from "./git.ts";
import { type GitObject, idOf, SHA1 } from "./objects.ts";
import { fakeServer, makePack, makeTree, type PackEntry, text } from "./testing.ts";

const blob: GitObject = { type: "blob", data: text("one") };
const treeOf = (...entries: [string, string, GitObject][]): GitObject =>
  makeTree(entries.map(([mode, name, object]) => [mode, name, idOf(object, SHA1)]));
const commitOf = (tree: GitObject): GitObject => ({
  type: "commit",
  data: text(`tree ${idOf(tree, SHA1)}\nauthor A\n\nmessage\n`),
});

/** Reads the commit from a server that sends these objects, the same again when asked again. */
function read(commit: GitObject, objects: PackEntry[], options: Partial<GitSourceOptions> = {}) {
  const pack = makePack(objects);
  const source = new GitSource({
    url: "https://host/flows",
    ref: { branch: "main" },
    limits: { maxFileSize: 1_000, maxTotalSize: 10_000, maxFiles: 10 },
    clock: new TestClock(),
    log: silentLog,
    fetch: fakeServer(idOf(commit, SHA1), [pack, pack]),
    ...options,
  });
  return source.read(null);
}

Deno.test("a commit's files are read from a pack", async () => {
  const tree = treeOf(["100644", "a.yaml", blob], ["100755", "run", blob]);
  const commit = commitOf(tree);
  const snapshot = await read(commit, [commit, tree, blob]);
  assert.deepEqual([...snapshot!.files.values()].map((file) => file.text()), ["one", "one"]);
  assert.equal(snapshot?.version, idOf(commit, SHA1));
});

Deno.test("objects that the server leaves out or swaps are noticed", async () => {
  const tree = treeOf(["100644", "a.yaml", blob], ["40000", "b", treeOf()]);
  const commit = commitOf(tree);
  const all = [commit, tree, treeOf(), blob];
  assert.ok(await read(commit, all));
  const evil: GitObject = { type: "blob", data: text("two") };
  const wrong: [GitObject, GitObject[], string][] = [
    [commit, all.filter((one) => one !== commit), "the server left out the commit"],
    [commit, [commit, blob], "the server left out some of them"],
    [commit, [commit, tree, blob], "the server left out some of them"],
    [commit, [commit, tree, treeOf()], "the server left out some of them"],
    [commit, [commit, tree, treeOf(), evil], "the server left out some of them"],
    [tree, all, "what should be a commit is none"],
    [commitOf(blob), [commitOf(blob), blob], "what should be a folder is none"],
  ];
  for (const [head, objects, reason] of wrong) {
    await assert.rejects(read(head, objects), {
      code: "source.corrupt",
      message: `Cannot read the repository's objects: ${reason}`,
      hint: "run git fsck on the server, or look for a proxy that changes answers",
    });
  }
});

Deno.test("folders that are no list of files are refused", async () => {
  const wrong: [Uint8Array, string][] = [
    [text("100644 a.yaml"), "a folder's list is cut off"],
    [text("100644 a.yaml\0short"), "a folder's list is cut off"],
    [text(`123456 a\0${"x".repeat(20)}`), 'a folder has an entry of the unknown mode "123456"'],
  ];
  for (const [data, reason] of wrong) {
    const tree: GitObject = { type: "tree", data };
    const commit = commitOf(tree);
    await assert.rejects(read(commit, [commit, tree]), {
      code: "source.corrupt",
      message: `Cannot read the repository's objects: ${reason}`,
    });
  }
});

Deno.test("empty folders inside of each other are counted too", async () => {
  let tree = treeOf();
  const trees = [tree];
  for (let level = 0; level < 6; level++) {
    const below = tree;
    tree = treeOf(...Array.from({ length: 10 }, (_, i): [string, string, GitObject] => {
      return ["40000", `d${i}`, below];
    }));
    trees.push(tree);
  }
  const commit = commitOf(tree);
  await assert.rejects(read(commit, [commit, ...trees]), {
    code: "source.too_large",
    message: "Cannot read the commit: it has more than 10 files",
  });
});

Deno.test("a path longer than any disk takes is refused", async () => {
  let tree = treeOf(["100644", "a.yaml", blob]);
  const trees = [tree];
  for (let level = 0; level < 30; level++) {
    tree = treeOf(["40000", "x".repeat(200), tree]);
    trees.push(tree);
  }
  const commit = commitOf(tree);
  await assert.rejects(read(commit, [commit, blob, ...trees]), {
    code: "source.path_unsafe",
    message: /: it is too long$/,
  });
});

Deno.test("a path of the configuration stays inside the repository", () => {
  for (const path of ["../x", "a/../b", "/etc", "a\\b", ".git/config"]) {
    assert.throws(() => read(commitOf(treeOf()), [], { path }), {
      code: "source.path_invalid",
      message: `Cannot use "${path}" as a path in a Git repository`,
      hint: "write a folder or file below its root, such as deploy/flows",
    });
  }
});

Deno.test("a file that is no text is known as bytes", async () => {
  const binary: GitObject = { type: "blob", data: new Uint8Array([0xff, 0]) };
  const tree = treeOf(["100644", "a.bin", binary]);
  const commit = commitOf(tree);
  const file = (await read(commit, [commit, tree, binary]))!.files.get("a.bin")!;
  assert.deepEqual(file.bytes(), new Uint8Array([0xff, 0]));
  assert.throws(() => file.text(), {
    code: "source.not_text",
    message: "Cannot read a.bin as text",
    hint: "save it as UTF-8",
  });
});
