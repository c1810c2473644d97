/** Random histories, read by us, by native Git and by isomorphic-git. */
import assert from "node:assert/strict";
import fc from "fast-check";
import git from "isomorphic-git";
import nodeFs from "node:fs";
import type { Source } from "../../../src/flow/source.ts";
import { withGit } from "./given.ts";
import type { Repository } from "./http_server.ts";

/** Files by path, as hex. */
async function byNativeGit(repository: Repository): Promise<Record<string, string>> {
  const list = await repository.git("ls-tree", "-r", "-z", "HEAD");
  const files: Record<string, string> = {};
  for (const line of list.split("\0").filter(Boolean)) {
    const [, type, id, path] = /^\d+ (\w+) (\w+)\t([^]*)$/.exec(line)!;
    assert.equal(type, "blob");
    files[path!] = (await repository.gitBytes("cat-file", "blob", id!)).toHex();
  }
  return files;
}

async function byIsomorphicGit(folder: string): Promise<Record<string, string>> {
  const files: Record<string, string> = {};
  await git.walk({
    fs: nodeFs,
    dir: folder,
    trees: [git.TREE({ ref: "HEAD" })],
    async map(path, [entry]) {
      if (await entry?.type() === "blob") {
        files[path] = new Uint8Array((await entry!.content())!).toHex();
      }
      return true;
    },
  });
  return files;
}

async function byUs(source: Source, previous: string | null) {
  const snapshot = await source.read(previous);
  if (!snapshot) return null;
  const files = [...snapshot.files].map(([path, file]) => [path, file.bytes().toHex()]);
  return { version: snapshot.version, files: Object.fromEntries(files) };
}

const path = fc.array(fc.constantFrom("a", "b", "c.yaml", "d e", "ü", "z.d", "a.b"), {
  minLength: 1,
  maxLength: 3,
}).map((parts) => parts.join("/"));
/** Similar texts, so that Git writes differences. */
const content = fc.oneof(
  fc.record({ lines: fc.nat(3_000), at: fc.nat(3_000), text: fc.string() }).map(
    ({ lines, at, text }) =>
      new TextEncoder().encode(
        Array.from({ length: lines }, (_, i) => i === at ? text : `line ${i * 7919 % 1009}`).join(
          "\n",
        ),
      ),
  ),
  fc.uint8Array({ maxLength: 300 }),
);
const step = fc.record({
  writes: fc.dictionary(path, content, { maxKeys: 5 }),
  remove: fc.nat(),
  repack: fc.boolean(),
  /** Goes on from an older commit. */
  back: fc.nat({ max: 5 }),
});

async function apply(
  repository: Repository,
  { writes, remove, repack, back }: Step,
): Promise<void> {
  if (back > 0) {
    const commits = (await repository.git("rev-list", "HEAD")).split("\n");
    await repository.git("reset", "-q", "--hard", commits[Math.min(back - 1, commits.length - 1)]!);
  }
  const known = (await repository.git("ls-files", "-z")).split("\0").filter(Boolean);
  if (known.length > 1) await repository.git("rm", "-q", "--", known[remove % known.length]!);
  for (const [path, content] of Object.entries(writes)) {
    // A path may be a file here and a folder there: the later one wins.
    const parts = path.split("/");
    for (let i = 1; i < parts.length; i++) {
      const above = `${repository.folder}/${parts.slice(0, i).join("/")}`;
      if ((await Deno.stat(above).catch(() => null))?.isFile) await Deno.remove(above);
    }
    const here = `${repository.folder}/${path}`;
    if ((await Deno.stat(here).catch(() => null))?.isDirectory) {
      await Deno.remove(here, { recursive: true });
    }
    await repository.write({ [path]: content });
  }
  await repository.commit();
  if (repack) await repository.git("repack", "-adfq", "--depth=50", "--window=50");
}
type Step = typeof step extends fc.Arbitrary<infer T> ? T : never;

Deno.test("whatever the history, our files are those of git and of isomorphic-git", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(step, { minLength: 2, maxLength: 6 }),
      fc.boolean(),
      fc.boolean(),
      (steps, oldProtocol, allowFilter) =>
        withGit({ oldProtocol }, async ({ repository, source }) => {
          await repository.git("config", "uploadpack.allowFilter", String(allowFilter));
          await repository.commit({ "first.yaml": "first", "sub/first.yaml": "first" });
          const whole = source();
          let version: string | null = null;
          for (const one of steps) {
            await apply(repository, one);
            const head = await repository.head();
            const native = await byNativeGit(repository);
            const ours = await byUs(whole, version);
            if (version === head) assert.equal(ours, null);
            else assert.deepEqual(ours, { version: head, files: native });
            version = head;
            assert.deepEqual((await byUs(source(), null))?.files, native);
            assert.deepEqual(await byIsomorphicGit(repository.folder), native);
          }
        }),
    ),
    { numRuns: 12 },
  );
});

Deno.test("a folder of a random history is the folder's part of the whole", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(step, { minLength: 2, maxLength: 5 }),
      fc.boolean(),
      (steps, allow) =>
        withGit({}, async ({ repository, source }) => {
          await repository.git("config", "uploadpack.allowFilter", String(allow));
          const part = source({ path: "keep" });
          let version: string | null = null;
          for (const one of steps) {
            const writes = Object.fromEntries(
              Object.entries(one.writes).flatMap(([path, content]) => [
                [`keep/${path}`, content],
                [`other/${path}`, content],
              ]),
            );
            await apply(repository, {
              ...one,
              back: version === null ? 0 : one.back,
              writes: { ...writes, "keep/always": new Uint8Array(one.remove % 100) },
            });
            const native = Object.fromEntries(
              Object.entries(await byNativeGit(repository))
                .filter(([path]) => path.startsWith("keep/"))
                .map(([path, hex]) => [path.slice("keep/".length), hex]),
            );
            const wanted = { version: `${await repository.head()}:keep`, files: native };
            const ours = await byUs(part, version);
            if (version === wanted.version) assert.equal(ours, null);
            else assert.deepEqual(ours, wanted);
            version = wanted.version;
            assert.deepEqual(await byUs(source({ path: "keep" }), null), wanted);
          }
        }),
    ),
    { numRuns: 8 },
  );
});
