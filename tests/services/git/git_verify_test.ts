import assert from "node:assert/strict";
import { contents, failureText, type Given, withGit } from "./given.ts";
import { ED25519, makeKey, useKey } from "./signing.ts";

function told({ server, source }: Given, ssh_keys: string[], ref = {}): Promise<string[]> {
  return failureText(server, source({ ref, verify: { ssh_keys } }).read(null));
}

for (
  const [name, ...args] of [
    ["ed25519", ...ED25519],
    ["ecdsa256", "-t", "ecdsa", "-b", "256"],
    ["ecdsa384", "-t", "ecdsa", "-b", "384"],
    ["rsa", "-t", "rsa", "-b", "3072"],
  ] as const
) {
  Deno.test(`a commit signed by an allowed ${name} key is read`, () =>
    withGit({}, async ({ repository, source }) => {
      const key = await useKey(repository, name, ...args);
      // Numbers inside signatures are shorter now and then.
      for (let i = 0; i < 5; i++) await repository.commit({ "a.yaml": `${i}\n` }, "-S");
      const other = await Deno.readTextFile(`${await makeKey(repository, "other", ...args)}.pub`);
      const git = source({ verify: { ssh_keys: ["# who may release", other, key] } });
      const first = await git.read(null);
      assert.deepEqual(contents(first), { "a.yaml": "4\n" });
      assert.equal(await git.read(first!.version), null);
    }));
}

Deno.test("commits that nobody or someone else signed are refused", () =>
  withGit({}, async (given) => {
    const { repository } = given;
    const key = await useKey(repository, "ada", ...ED25519);
    const unsigned = await repository.commit({ "a.yaml": "one" });
    const hint = "sign it with an SSH key that verify.ssh_keys lists (git config gpg.format ssh)";
    assert.deepEqual(await told(given, [key]), [
      "source.unverified",
      `Cannot trust the commit ${unsigned}: it is not signed`,
      hint,
    ]);
    await useKey(repository, "eve", ...ED25519);
    const foreign = await repository.commit({ "a.yaml": "two" }, "-S");
    assert.deepEqual(await told(given, [key]), [
      "source.unverified",
      `Cannot trust the commit ${foreign}: it is signed by a key that is not in the list`,
      hint,
    ]);
  }));

Deno.test("a signature that was moved to another commit is refused", () =>
  withGit({}, async (given) => {
    const { repository } = given;
    const key = await useKey(repository, "ada", ...ED25519);
    await repository.commit({ "a.yaml": "one" }, "-S");
    const good = await repository.git("cat-file", "commit", "HEAD");
    await repository.commit({ "a.yaml": "evil" });
    const tree = await repository.git("rev-parse", "HEAD^{tree}");
    const forged = `${good.replace(/^tree .*/, `tree ${tree}`)}\n`;
    await repository.write({ ".git/forged": forged });
    const id = await repository.git("hash-object", "-w", "-t", "commit", ".git/forged");
    await repository.git("update-ref", "refs/heads/main", id);
    const [code, message] = await told(given, [key]);
    assert.deepEqual([code, message], [
      "source.unverified",
      `Cannot trust the commit ${id}: its signature does not fit its content`,
    ]);
  }));

Deno.test("a signed tag vouches for an unsigned commit, under its own name only", () =>
  withGit({}, async (given) => {
    const { repository, source } = given;
    const key = await useKey(repository, "ada", ...ED25519);
    const commit = await repository.commit({ "a.yaml": "one" });
    await repository.git("tag", "-s", "v1.0.0", "-m", "release");
    await repository.git("tag", "-a", "v1.0.1", "-m", "unsigned");
    const verify = { ssh_keys: [key] };
    for (const ref of [{ tag: "v1.0.0" }, { semver: "=1.0.0" }]) {
      assert.equal((await source({ ref, verify }).read(null))?.version, commit);
    }
    const reason = `Cannot trust the commit ${commit}: it is not signed`;
    assert.equal((await told(given, [key], { tag: "v1.0.1" }))[1], reason);
    assert.equal((await told(given, [key], { branch: "main" }))[1], reason);
    await repository.git("update-ref", "refs/tags/v2.0.0", "refs/tags/v1.0.0");
    assert.equal((await told(given, [key], { tag: "v2.0.0" }))[1], reason, "an old tag renamed");
    await repository.commit({ "a.yaml": "two" }, "-S");
    await repository.git("tag", "-a", "v3.0.0", "-m", "unsigned");
    assert.ok(await source({ ref: { tag: "v3.0.0" }, verify }).read(null), "the commit is signed");
  }));

Deno.test("a version that was stored before is verified once more after a start", () =>
  withGit({}, async ({ repository, server, source, asked }) => {
    const commit = await repository.commit({ "a.yaml": "one" });
    const key = await useKey(repository, "ada", ...ED25519);
    const git = source({ verify: { ssh_keys: [key] } });
    assert.equal((await failureText(server, git.read(commit)))[0], "source.unverified");
    const signed = await repository.commit({ "a.yaml": "two" }, "-S");
    const again = source({ verify: { ssh_keys: [key] } });
    asked();
    assert.equal(await again.read(signed), null);
    assert.deepEqual(asked(), ["discover 200", "refs 200", "fetch 200"]);
    assert.equal(await again.read(signed), null);
    assert.deepEqual(asked(), ["refs 200"]);
  }));

Deno.test("signatures in a repository with SHA-256", () =>
  withGit({ init: ["--object-format=sha256"] }, async ({ repository, source }) => {
    const key = await useKey(repository, "ada", ...ED25519);
    await repository.commit({ "a.yaml": "one" }, "-S");
    assert.ok(await source({ verify: { ssh_keys: [key] } }).read(null));
  }));

Deno.test("a signed merge of a signed tag is verified by its own signature", () =>
  withGit({}, async ({ repository, source }) => {
    const key = await useKey(repository, "ada", ...ED25519);
    await repository.commit({ "a.yaml": "one" });
    await repository.git("checkout", "-q", "-b", "side");
    await repository.commit({ "b.yaml": "two" });
    await repository.git("tag", "-s", "v1", "-m", "release");
    await repository.git("checkout", "-q", "main");
    await repository.git("merge", "-q", "--no-ff", "-S", "-m", "merge", "v1");
    assert.match(await repository.git("cat-file", "commit", "HEAD"), /^mergetag /m);
    assert.ok(await source({ verify: { ssh_keys: [key] } }).read(null));
  }));
