import assert from "node:assert/strict";
import { SHA1 } from "./objects.ts";
import { checkChoice, type RefChoice, resolveRef } from "./refs.ts";
import type { Ref, Remote } from "./remote.ts";

/** Gives all refs whatever is asked, as old servers do. */
const remoteWith = (refs: readonly Ref[]): Remote => ({
  format: SHA1,
  canFilter: false,
  refs: () => Promise.resolve([...refs]),
  fetch: () => Promise.reject(new Error("nothing is fetched")),
});
const tags = (...names: string[]) => names.map((name) => ({ name: `refs/tags/${name}`, id: name }));
const resolve = (choice: RefChoice, refs: readonly Ref[]) =>
  resolveRef(remoteWith(refs), choice, "https://host/flows");

Deno.test("a branch is the one of exactly that name", async () => {
  const refs = ["main2", "a/main", "main"].map((name) => ({
    name: `refs/heads/${name}`,
    id: name,
  }));
  assert.deepEqual(await resolve({ branch: "main" }, refs), { commit: "main" });
  assert.deepEqual(await resolve({ branch: "refs/heads/a/main" }, refs), { commit: "a/main" });
});

Deno.test("pre-releases count only where the range names one", async () => {
  const refs = tags("v1.0.0", "v1.1.0-rc.2", "v1.1.0-rc.10");
  assert.deepEqual(await resolve({ semver: ">=1" }, refs), { commit: "v1.0.0" });
  assert.deepEqual(await resolve({ semver: ">=1.1.0-rc" }, refs), { commit: "v1.1.0-rc.10" });
});

Deno.test("of two tags for one version all readers choose the same", async () => {
  const refs = tags("v1.0.0", "1.0.0", "1.0.0+build.2");
  for (const order of [refs, refs.toReversed()]) {
    assert.deepEqual(await resolve({ semver: "1" }, order), { commit: "1.0.0+build.2" });
    assert.deepEqual(
      await resolve({ semver: "1" }, order.filter((_, i) => order[i]!.id !== "1.0.0+build.2")),
      { commit: "1.0.0" },
    );
  }
});

Deno.test("a range that finds nothing says which versions there are", async () => {
  await assert.rejects(resolve({ semver: "^2" }, tags("v1.0.0", "v1.10.0", "latest")), {
    code: "source.ref_missing",
    message: 'Cannot find a tag in the range "^2" in https://host/flows',
    hint: 'the highest versions are "v1.10.0", "v1.0.0"',
  });
  await assert.rejects(resolve({ semver: "^2" }, tags("latest")), {
    hint: "push a tag that is a version, such as v1.2.3",
  });
  await assert.rejects(resolve({ semver: "newest" }, tags("v1.0.0")), {
    code: "source.ref_invalid",
    message: 'Cannot read "newest" as a range of versions',
    hint: "write one such as ^1.2 or >=2 <4",
  });
});

Deno.test("an annotated tag is known with its name, for its signature", async () => {
  const refs = [{ name: "refs/tags/v1", id: "tag", peeled: "commit" }];
  const tag = { name: "v1", id: "tag" };
  assert.deepEqual(await resolve({ tag: "v1" }, refs), { commit: "commit", tag });
});

Deno.test("choices that mean nothing are refused", () => {
  const wrong: [RefChoice, string, string][] = [
    [{ branch: "a", tag: "b" }, 'Cannot read "branch", "tag" at once', "keep one of them"],
    [{ branch: "" }, 'Cannot use "" as a branch', "write a name without spaces"],
    [{ tag: "a b" }, 'Cannot use "a b" as a tag', "write a name without spaces"],
    [
      { commit: "1a2b3c4" },
      'Cannot use "1a2b3c4" as a commit',
      "write the whole id, 40 letters and digits",
    ],
  ];
  for (const [choice, message, hint] of wrong) {
    assert.throws(() => checkChoice(choice), { code: "source.ref_invalid", message, hint });
  }
  checkChoice({ semver: ">=1 <2", branch: undefined });
});
