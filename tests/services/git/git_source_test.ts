import assert from "node:assert/strict";
import { commitOf } from "../../../src/source/git/git.ts";
import { contents, failureText, withGit } from "./given.ts";
import { manyFiles } from "./http_server.ts";

Deno.test("a first read gives the files of the branch, and a second one costs one request", () =>
  withGit({}, async ({ repository, source, asked }) => {
    const files = { "a.yaml": "one", "b.d": "", "b/c.bin": new Uint8Array([0xff]), "b0": "two" };
    const commit = await repository.commit(files);
    const git = source();
    const first = await git.read(null);
    assert.deepEqual(contents(first), files);
    assert.deepEqual([...first!.files.keys()], Object.keys(files), "in the order of paths");
    assert.equal(first?.version, commit);
    assert.equal(first?.files.get("b/c.bin")?.file, "b/c.bin");
    assert.deepEqual(first?.problems, []);
    assert.deepEqual(asked(), ["discover 200", "refs 200", "fetch 200"]);
    assert.equal(await git.read(first!.version), null);
    assert.deepEqual(asked(), ["refs 200"]);
  }));

Deno.test("a version from before a restart is recognised without touching objects", () =>
  withGit({}, async ({ repository, source, asked }) => {
    const commit = await repository.commit({ "a.yaml": "one" });
    assert.equal(await source().read(commit), null);
    assert.deepEqual(asked(), ["discover 200", "refs 200"]);
  }));

Deno.test("when the commit moved, only new objects come, and other files stay the same", () =>
  withGit({}, async ({ repository, server, source }) => {
    const files = manyFiles(2_000);
    await repository.commit(files);
    const git = source();
    const first = await git.read(null);
    const whole = server.seen.at(-1)!.bytes;
    await repository.commit({ "flows/g00/f0.yaml": "changed" });
    const second = await git.read(first!.version);
    assert.equal(second?.files.get("flows/g00/f0.yaml")?.text(), "changed");
    const same = [...second!.files].filter(([path, file]) => file === first!.files.get(path));
    assert.equal(same.length, 1_999);
    const { bytes } = server.seen.at(-1)!;
    assert.ok(bytes < 1_500, `${bytes} of ${whole} bytes for one of 2,000 files`);
  }));

Deno.test("a large file that changed a little comes as a difference", () =>
  withGit({}, async ({ repository, server, source }) => {
    const large = crypto.getRandomValues(new Uint8Array(60_000));
    await repository.commit({ "large.bin": large });
    const git = source();
    const first = await git.read(null);
    const changed = large.with(30_000, large[30_000]! ^ 1);
    await repository.commit({ "large.bin": changed });
    await repository.git("repack", "-adq"); // a pack whose deltas are reused
    const second = await git.read(first!.version);
    assert.deepEqual(second?.files.get("large.bin")?.bytes(), changed);
    const { bytes } = server.seen.at(-1)!;
    assert.ok(bytes < 5_000, `${bytes} bytes`);
  }));

Deno.test("a path chooses a folder or a file, and the rest is not asked for where that can be", () =>
  withGit({}, async ({ repository, server, source, asked }) => {
    const commit = await repository.commit({
      "deploy/flows/a.yaml": "one",
      "deploy/flows/b/c.yaml": "two",
      "large.bin": crypto.getRandomValues(new Uint8Array(50_000)),
    });
    for (const allow of ["false", "true"]) {
      await repository.git("config", "uploadpack.allowFilter", allow);
      const folder = source({ path: "./deploy/flows/" });
      const first = await folder.read(null);
      assert.deepEqual(contents(first), { "a.yaml": "one", "b/c.yaml": "two" });
      assert.equal(first?.files.get("a.yaml")?.file, "deploy/flows/a.yaml");
      assert.equal(first?.version, `${commit}:deploy/flows`);
      assert.equal(commitOf(first!.version), commit);
      assert.equal(await folder.read(first!.version), null);
      const file = await source({ path: "deploy/flows/b/c.yaml" }).read(null);
      assert.deepEqual(contents(file), { "c.yaml": "two" });
      assert.equal(file?.files.get("c.yaml")?.file, "deploy/flows/b/c.yaml");
      const most = Math.max(...server.seen.map(({ bytes }) => bytes));
      assert.equal(most > 50_000, allow === "false");
      server.seen.length = 0;
    }
    const git = source({ path: "deploy" });
    const first = await git.read(null);
    await repository.commit({ "deploy/flows/a.yaml": "ONE", "other.txt": "more" });
    asked();
    const second = await git.read(first!.version);
    assert.deepEqual(contents(second), { "flows/a.yaml": "ONE", "flows/b/c.yaml": "two" });
    assert.deepEqual(asked(), ["refs 200", "fetch 200", "fetch 200"]);
    await repository.commit({ "other.txt": "still more" });
    await git.read(second!.version);
    assert.deepEqual(asked(), ["refs 200", "fetch 200"]);
  }));

Deno.test("differences from what was not kept are not asked for, or fetched once more", () =>
  withGit({}, async ({ repository, source, asked }) => {
    const large = crypto.getRandomValues(new Uint8Array(60_000));
    const target = "x".repeat(3_000);
    const change = async (content: Uint8Array, link: string) => {
      await repository.git("rm", "-q", "--ignore-unmatch", "link");
      await repository.write({ "other/large.bin": content, "flows/a.yaml": link.slice(-1) });
      await repository.git("config", "core.symlinks", "false");
      await repository.write({ link });
      const id = await repository.git("hash-object", "-w", "link");
      await repository.git("add", "flows", "other");
      await repository.git("update-index", "--add", "--cacheinfo", `120000,${id},link`);
      await repository.git("commit", "-q", "-m", "change");
      await repository.git("repack", "-adq");
    };
    await change(large, `${target}1`);
    const [part, whole] = [source({ path: "flows" }), source()];
    const versions = [(await part.read(null))!.version, (await whole.read(null))!.version];
    await change(large.with(30_000, large[30_000]! ^ 1), `${target}2`);
    asked();
    assert.deepEqual(contents(await part.read(versions[0]!)), { "a.yaml": "2" });
    assert.deepEqual(asked(), ["refs 200", "fetch 200"]);
    assert.equal((await whole.read(versions[1]!))?.files.get("flows/a.yaml")?.text(), "2");
    assert.deepEqual(asked(), ["refs 200", "fetch 200", "fetch 200"], "a link is not kept");
  }));

Deno.test("tags, annotated tags, commits, other branches and the default branch can be chosen", () =>
  withGit({}, async ({ repository, source, asked }) => {
    const one = await repository.commit({ "a.yaml": "one" });
    await repository.git("tag", "light");
    await repository.git("tag", "-a", "heavy", "-m", "release");
    await repository.git("tag", "-a", "nested", "heavy", "-m", "release of a release");
    const two = await repository.commit({ "a.yaml": "two" });
    await repository.git("checkout", "-q", "-b", "side");
    const three = await repository.commit({ "a.yaml": "three" });
    const read = async (ref: Parameters<typeof source>[0]) =>
      (await source(ref).read(null))?.version;
    assert.equal(await read({ ref: { tag: "light" } }), one);
    assert.equal(await read({ ref: { tag: "heavy" } }), one);
    assert.equal(await read({ ref: { tag: "nested" } }), one);
    assert.equal(await read({ ref: { branch: "main" } }), two);
    assert.equal(await read({ ref: { branch: "refs/heads/side" } }), three);
    assert.equal(await read({ ref: {} }), three);
    asked();
    const fixed = source({ ref: { commit: one } });
    assert.equal((await fixed.read(null))?.version, one);
    assert.deepEqual(asked(), ["discover 200", "fetch 200"]);
    assert.equal(await fixed.read(one), null);
    assert.deepEqual(asked(), []);
  }));

Deno.test("a range of versions follows the highest tag in it", () =>
  withGit({}, async ({ repository, source }) => {
    const tag = async (name: string, ...args: string[]) => {
      const commit = await repository.commit({ "a.yaml": name });
      await repository.git("tag", name, ...args);
      return commit;
    };
    await tag("v1.2.0");
    const newest = await tag("v1.10.0", "-a", "-m", "release");
    await tag("v1.9.0");
    await tag("v1.11.0-rc.1");
    const two = await tag("2.0.0");
    await tag("nightly");
    const git = source({ ref: { semver: "^1.2" } });
    const first = await git.read(null);
    assert.equal(first?.version, newest);
    assert.equal(await git.read(newest), null);
    assert.equal((await source({ ref: { semver: "*" } }).read(null))?.version, two);
    const later = await tag("v1.10.1");
    assert.equal((await git.read(newest))?.version, later);
  }));

Deno.test("a forced push is read like any other commit", () =>
  withGit({}, async ({ repository, source }) => {
    await repository.commit({ "a.yaml": "one" });
    await repository.commit({ "a.yaml": "two", "b.yaml": "two" });
    const git = source();
    const first = await git.read(null);
    await repository.git("reset", "-q", "--hard", "HEAD~1");
    const forced = await repository.commit({ "a.yaml": "three" });
    await repository.git("reflog", "expire", "--expire=now", "--all");
    await repository.git("gc", "-q", "--prune=now");
    const second = await git.read(first!.version);
    assert.equal(second?.version, forced);
    assert.deepEqual(contents(second), { "a.yaml": "three" });
  }));

Deno.test("a branch that goes back to an older commit is read again", () =>
  withGit({}, async ({ repository, source }) => {
    const one = await repository.commit({ "a.yaml": "one", "b.yaml": "one" });
    await repository.commit({ "a.yaml": "two", "b.yaml": null });
    const git = source();
    const first = await git.read(null);
    await repository.git("reset", "-q", "--hard", one);
    assert.deepEqual(contents(await git.read(first!.version)), {
      "a.yaml": "one",
      "b.yaml": "one",
    });
  }));

Deno.test("a repository that shrinks gives fewer files, down to none", () =>
  withGit({}, async ({ repository, source }) => {
    const files = manyFiles(300);
    await repository.commit(files);
    const git = source();
    let version = (await git.read(null))!.version;
    await repository.commit(
      Object.fromEntries(Object.keys(files).slice(1).map((path) => [path, null])),
    );
    const small = await git.read(version);
    assert.deepEqual([...small!.files.keys()], Object.keys(files).slice(0, 1));
    version = small!.version;
    await repository.commit({ [Object.keys(files)[0]!]: null });
    assert.equal((await git.read(version))?.files.size, 0);
  }));

Deno.test("an empty repository says so, and is read once something was pushed", () =>
  withGit({}, async ({ repository, server, source }) => {
    const git = source();
    assert.deepEqual(await failureText(server, git.read(null)), [
      "source.ref_missing",
      'Cannot find the branch "main" in http://host/flows.git',
      "the repository is empty: push to it",
    ]);
    assert.deepEqual(
      (await failureText(server, source({ ref: {} }).read(null)))[1],
      "Cannot find the default branch in http://host/flows.git",
    );
    await repository.commit({ "a.yaml": "one" });
    assert.deepEqual(contents(await git.read(null)), { "a.yaml": "one" });
  }));

Deno.test("a missing branch, tag, version or commit is told with what there is", () =>
  withGit({}, async ({ repository, server, source }) => {
    await repository.commit({ "a.yaml": "one" });
    await repository.git("branch", "develop");
    await repository.git("tag", "v1.0.0");
    const told = (ref: NonNullable<Parameters<typeof source>[0]>["ref"]) =>
      failureText(server, source({ ref }).read(null));
    assert.deepEqual(await told({ branch: "mian" }), [
      "source.ref_missing",
      'Cannot find the branch "mian" in http://host/flows.git',
      'did you mean "main"?',
    ]);
    assert.deepEqual(
      (await told({ branch: "production" }))[2],
      'there are the branches "develop", "main"',
    );
    assert.deepEqual((await told({ branch: "v1.0.0" }))[2], 'there is a tag "v1.0.0": write tag');
    assert.deepEqual(await told({ tag: "v2" }), [
      "source.ref_missing",
      'Cannot find the tag "v2" in http://host/flows.git',
      'there are the tags "v1.0.0"',
    ]);
    assert.deepEqual(await told({ semver: ">=2" }), [
      "source.ref_missing",
      'Cannot find a tag in the range ">=2" in http://host/flows.git',
      'the highest versions are "v1.0.0"',
    ]);
    assert.deepEqual(await told({ commit: "1234567890".repeat(4) }), [
      "source.ref_missing",
      'Cannot find the commit "1234567890123456789012345678901234567890" on the server',
      "push it; some servers give only commits that a branch or tag leads to",
    ]);
  }));

Deno.test("a branch that was deleted is told, and read again when it is back", () =>
  withGit({}, async ({ repository, server, source }) => {
    await repository.commit({ "a.yaml": "one" });
    await repository.git("branch", "live");
    const git = source({ ref: { branch: "live" } });
    const first = await git.read(null);
    await repository.git("branch", "-D", "live");
    assert.equal((await failureText(server, git.read(first!.version)))[0], "source.ref_missing");
    await repository.git("branch", "live");
    assert.equal(await git.read(first!.version), null);
  }));

Deno.test("links and submodules are left out and told; LFS pointers come as they are", () =>
  withGit({}, async ({ root, repository, source }) => {
    const pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n";
    await repository.commit({ "flows/a.yaml": "one", "large.bin": pointer });
    await Deno.symlink("/etc/passwd", `${repository.folder}/flows/evil.yaml`);
    await Deno.symlink("flows", `${repository.folder}/alias`);
    const id = await repository.head();
    await repository.git("update-index", "--add", "--cacheinfo", `160000,${id},vendor/lib`);
    await repository.git("add", "alias", "flows");
    await repository.git("commit", "-q", "-m", "links");
    const snapshot = await source().read(null);
    assert.deepEqual(contents(snapshot), { "flows/a.yaml": "one", "large.bin": pointer });
    assert.deepEqual(
      snapshot?.problems.map(({ error }) => [error.code, error.message, error.hint]),
      [
        [
          "source.link_skipped",
          'The symbolic links "alias", "flows/evil.yaml" are left out',
          "commit files instead",
        ],
        [
          "source.submodule_skipped",
          'The submodules "vendor/lib" are left out',
          "read the other repository as a source of its own",
        ],
      ],
    );
    assert.ok(!root.includes("passwd"));
  }));

Deno.test("a path that is missing is told with its neighbours", () =>
  withGit({}, async ({ repository, server, source }) => {
    await repository.commit({ "deploy/flows/a.yaml": "one" });
    assert.deepEqual(await failureText(server, source({ path: "deploy/flwos" }).read(null)), [
      "source.path_missing",
      'Cannot find the path "deploy/flwos" in the repository',
      'did you mean "deploy/flows"?',
    ]);
    assert.deepEqual(
      (await failureText(server, source({ path: "deploy/flows/a.yaml/b" }).read(null)))[0],
      "source.path_missing",
    );
  }));

Deno.test("what was refused is not fetched again until the branch moves", () =>
  withGit({}, async ({ repository, server, source, asked }) => {
    await repository.commit({ "deploy/a.yaml": "one" });
    const git = source({ path: "flows" });
    const first = await failureText(server, git.read(null));
    asked();
    assert.deepEqual(await failureText(server, git.read(null)), first);
    assert.deepEqual(asked(), ["discover 200", "refs 200"]);
    await repository.commit({ "flows/a.yaml": "one" });
    assert.deepEqual(contents(await git.read(null)), { "a.yaml": "one" });
  }));

Deno.test("repositories with SHA-256 are read alike", () =>
  withGit({ init: ["--object-format=sha256"] }, async ({ repository, source }) => {
    const commit = await repository.commit({ "a.yaml": "one", "b/c.yaml": "two" });
    const git = source();
    const first = await git.read(null);
    assert.equal(first?.version, commit);
    assert.equal(commit.length, 64);
    assert.deepEqual(contents(first), { "a.yaml": "one", "b/c.yaml": "two" });
    await repository.commit({ "a.yaml": "ONE" });
    assert.deepEqual(contents(await git.read(first!.version)), {
      "a.yaml": "ONE",
      "b/c.yaml": "two",
    });
  }));

Deno.test("a server that knows only the old protocol is read too", () =>
  withGit({ oldProtocol: true }, async ({ repository, server, source, asked }) => {
    const one = await repository.commit({ "a.yaml": "one", "b/c.yaml": "two" });
    await repository.git("tag", "-a", "v1.0.0", "-m", "release");
    const git = source();
    const first = await git.read(null);
    assert.deepEqual(contents(first), { "a.yaml": "one", "b/c.yaml": "two" });
    assert.deepEqual(asked(), ["discover 200", "fetch 200"]);
    assert.equal(await git.read(first!.version), null);
    assert.deepEqual(asked(), ["discover 200"]);
    const two = await repository.commit({ "a.yaml": "ONE" });
    assert.deepEqual(contents(await git.read(first!.version)), {
      "a.yaml": "ONE",
      "b/c.yaml": "two",
    });
    await repository.git("reset", "-q", "--hard", one);
    await repository.commit({ "a.yaml": "three" });
    assert.equal((await source({ ref: { semver: "1" } }).read(null))?.version, one);
    assert.equal((await source({ ref: {} }).read(null))?.version, await repository.head());
    assert.deepEqual(await failureText(server, source({ ref: { commit: two } }).read(null)), [
      "source.ref_missing",
      `Cannot find the commit "${two}" on the server`,
      "push it; some servers give only commits that a branch or tag leads to",
    ]);
    await repository.git("config", "uploadpack.allowAnySHA1InWant", "true");
    assert.equal((await source({ ref: { commit: two } }).read(null))?.version, two);
  }));
