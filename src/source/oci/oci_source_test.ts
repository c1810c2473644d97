import assert from "node:assert/strict";
import { gzipSync } from "node:zlib";
import { ARTIFACT, bytesOf, LIMITS, TAR, TestRegistry, textsOf } from "./testing.ts";
import { writeTar } from "./tar_write.ts";

function tgz(files: Record<string, string>): Uint8Array {
  const packed = Object.entries(files).map(([path, text]) => ({ path, content: bytesOf(text) }));
  return gzipSync(writeTar(packed));
}

Deno.test("a tag is read whole, and its version is the manifest's digest", async () => {
  const registry = new TestRegistry();
  const digest = registry.artifact("v1", [
    { title: "flows/b.yaml", bytes: bytesOf("b: 1") },
    { mediaType: `${TAR}+gzip`, title: "more.tgz", bytes: tgz({ "./a.yaml": "a: 1", "c/d": "" }) },
  ]);
  const snapshot = await registry.source().read(null);
  assert.equal(snapshot!.version, digest);
  assert.deepEqual([snapshot!.digest, snapshot!.tag], [digest, "v1"]);
  assert.deepEqual(textsOf(snapshot), { "a.yaml": "a: 1", "c/d": "", "flows/b.yaml": "b: 1" });
  assert.deepEqual(snapshot!.problems, []);
});

Deno.test("whether a tag has moved is one HEAD", async () => {
  const registry = new TestRegistry();
  const version = registry.artifact("v1", [{ title: "a", bytes: bytesOf("1") }]);
  assert.equal(await registry.source().read(version), null);
  assert.deepEqual(registry.log, ["HEAD manifests/v1"]);
  registry.artifact("v1", [{ title: "a", bytes: bytesOf("2") }]);
  assert.deepEqual(textsOf(await registry.source().read(version)), { a: "2" });
});

Deno.test("a registry that does not say the digest is asked for the manifest", async () => {
  const registry = new TestRegistry();
  const version = registry.artifact("v1", [{ title: "a", bytes: bytesOf("1") }]);
  registry.intercept = ({ method }) =>
    method === "HEAD" ? new Response(null, { status: 405 }) : null;
  assert.equal(await registry.source().read(version), null);
  assert.deepEqual(registry.log, ["HEAD manifests/v1", "GET manifests/v1"]);
});

Deno.test("a digest never changes, so what was read of it is not asked for again", async () => {
  const registry = new TestRegistry();
  const version = registry.artifact("v1", [{ title: "a", bytes: bytesOf("1") }]);
  const source = registry.source({ artifact: `${ARTIFACT}:other@${version}` });
  assert.deepEqual(textsOf(await source.read(null)), { a: "1" });
  registry.log.length = 0;
  assert.equal(await source.read(version), null);
  assert.deepEqual(registry.log, []);
});

Deno.test("layers that the last snapshot had are not downloaded again", async () => {
  const registry = new TestRegistry();
  const same = { title: "same", bytes: bytesOf("same") };
  const source = registry.source();
  registry.artifact("v1", [same, { title: "a", bytes: bytesOf("1") }]);
  const first = await source.read(null);
  registry.artifact("v1", [same, { title: "a", bytes: bytesOf("2") }]);
  registry.log.length = 0;
  assert.deepEqual(textsOf(await source.read(first!.version)), { same: "same", a: "2" });
  assert.equal(registry.log.filter((line) => line.includes("blobs/")).length, 1);
});

Deno.test("a read that failed half-way goes on with what it had", async () => {
  const registry = new TestRegistry();
  const bytes = bytesOf("lost");
  registry.artifact("v1", [{ title: "a", bytes: bytesOf("1") }, { title: "b", bytes }]);
  const lost = registry.blob(bytes);
  registry.blobs.delete(lost);
  const source = registry.source();
  await assert.rejects(() => source.read(null), {
    code: "source.not_found",
    message: `Cannot read ${ARTIFACT}@${lost}: the registry does not have it`,
  });
  registry.blob(bytes);
  registry.log.length = 0;
  assert.deepEqual(textsOf(await source.read(null)), { a: "1", b: "lost" });
  assert.deepEqual(registry.log, ["GET manifests/v1", `GET blobs/${lost}`]);
});

Deno.test("layers come in parallel, four at most, and one failure stops the others", async () => {
  const registry = new TestRegistry();
  const layers = Array.from({ length: 9 }, (_, i) => ({ title: `f${i}`, bytes: bytesOf(`${i}`) }));
  registry.artifact("v1", layers);
  let open = 0;
  let most = 0;
  registry.intercept = async ({ url }) => {
    if (!url.pathname.includes("/blobs/")) return null;
    most = Math.max(most, ++open);
    await Promise.resolve();
    await new Promise((resolve) => setImmediate(resolve));
    open--;
    return null;
  };
  assert.equal((await registry.source().read(null))!.files.size, 9);
  assert.equal(most, 4);

  registry.log.length = 0;
  let first = true;
  registry.intercept = async ({ url }) => {
    if (!url.pathname.includes("/blobs/")) return null;
    if (!first) await new Promise((resolve) => setImmediate(resolve));
    if (!first) return null;
    first = false;
    return new Response(null, { status: 404 });
  };
  await assert.rejects(() => registry.source().read(null), { code: "source.not_found" });
  assert.equal(registry.log.filter((line) => line.includes("blobs/")).length, 4);
});

Deno.test("the signal ends a read with its reason", async () => {
  const registry = new TestRegistry();
  registry.artifact("v1", [{ title: "a", bytes: bytesOf("1") }]);
  const stop = new AbortController();
  registry.intercept = ({ url }) => {
    if (url.pathname.includes("/blobs/")) stop.abort(new Error("enough"));
    return null;
  };
  await assert.rejects(() => registry.source().read(null, stop.signal), { message: "enough" });
});

Deno.test("the highest version in a range is read, along all pages of tags", async () => {
  const registry = new TestRegistry();
  for (const tag of ["latest", "v1.2.0", "1.10.0", "1.9.0", "2.0.0-rc.1", "1.11.0-beta"]) {
    registry.artifact(tag, [{ title: "a", bytes: bytesOf(tag) }]);
  }
  const pages = [["latest", "v1.2.0"], ["1.9.0", "2.0.0-rc.1"], ["1.10.0"]];
  registry.intercept = ({ url }) => {
    if (!url.pathname.endsWith("/tags/list")) return null;
    const page = Number(url.searchParams.get("page") ?? 0);
    const link = page < 2 ? `</v2/acme/flows/tags/list?page=${page + 1}>; rel="next"` : "";
    return Response.json({ tags: pages[page] }, { headers: { link } });
  };
  const source = (semver: string) => registry.source({ artifact: ARTIFACT, semver });
  const snapshot = await source("^1").read(null);
  assert.equal(snapshot!.tag, "1.10.0");
  assert.deepEqual(textsOf(snapshot), { a: "1.10.0" });
  assert.equal(await source("^1").read(snapshot!.version), null);
  pages[2] = ["1.10.0", "1.12.0_build.5"];
  registry.artifact("1.12.0_build.5", [{ title: "a", bytes: bytesOf("build") }]);
  assert.deepEqual(textsOf(await source("^1").read(snapshot!.version)), { a: "build" });
  await assert.rejects(() => source("^3").read(null), {
    code: "source.ref_missing",
    message: 'No tag of registry.example:5000/acme/flows fits the versions "^3"',
    hint: "the highest there are 2.0.0-rc.1, 1.12.0_build.5, 1.10.0, 1.9.0, v1.2.0",
  });
  await assert.rejects(() => source("newest").read(null), { code: "source.reference_invalid" });
  assert.throws(() => registry.source({ semver: "^1" }), {
    code: "source.reference_invalid",
    message: 'Cannot look for versions "^1" of registry.example:5000/acme/flows:v1',
  });
});

Deno.test("a list of tags on another host is not followed there", async () => {
  const registry = new TestRegistry();
  registry.intercept = ({ url }) =>
    url.pathname.endsWith("/tags/list")
      ? Response.json({ tags: [] }, { headers: { link: '<https://evil.example/x>; rel="next"' } })
      : null;
  const source = registry.source({ artifact: ARTIFACT, semver: "*" });
  await assert.rejects(() => source.read(null), { code: "source.ref_missing" });
  assert.equal(registry.log.length, 1);
});

Deno.test("a list of tags is read no further than it may be long", async () => {
  const registry = new TestRegistry();
  let pages = 0;
  registry.intercept = ({ url }) => {
    if (!url.pathname.endsWith("/tags/list")) return null;
    const link = `</v2/acme/flows/tags/list?page=${++pages}>; rel="next"`;
    return Response.json({ tags: ["a".repeat(4_000_000)] }, { headers: { link } });
  };
  const source = registry.source({ artifact: ARTIFACT, semver: "*" });
  await assert.rejects(() => source.read(null), { code: "source.too_large" });
  assert.equal(pages, 9);
});

Deno.test("an index is read at the platform, which is part of the version", async () => {
  const registry = new TestRegistry();
  const amd = registry.artifact(undefined, [{ title: "a", bytes: bytesOf("amd") }]);
  const arm = registry.artifact(undefined, [{ title: "a", bytes: bytesOf("arm") }]);
  const index = registry.index("v1", [
    { digest: amd, platform: "linux/amd64" },
    { digest: arm, platform: "linux/arm64/v8" },
    { digest: amd, platform: "unknown/unknown" },
  ]);
  const snapshot = await registry.source().read(null);
  assert.deepEqual(textsOf(snapshot), { a: "amd" });
  assert.deepEqual([snapshot!.version, snapshot!.digest], [`${index}+linux/amd64`, amd]);
  const source = registry.source({ platform: "linux/arm64" });
  // What another platform had is something else.
  assert.deepEqual(textsOf(await source.read(snapshot!.version)), { a: "arm" });
  registry.log.length = 0;
  assert.equal(await source.read(`${index}+linux/arm64`), null);
  assert.deepEqual(registry.log, ["HEAD manifests/v1"]);
  await assert.rejects(() => registry.source({ platform: "linux/s390x" }).read(null), {
    code: "source.not_supported",
    message: `Cannot choose from the index ${ARTIFACT}:v1: it has nothing for linux/s390x`,
    hint: "set platform to one of linux/amd64, linux/arm64/v8",
  });
});

Deno.test("an index of artifacts is read where there is one without platform", async () => {
  const registry = new TestRegistry();
  const one = registry.artifact(undefined, [{ title: "a", bytes: bytesOf("1") }]);
  const two = registry.artifact(undefined, [{ title: "a", bytes: bytesOf("2") }]);
  registry.index("v1", [{ digest: one }]);
  assert.deepEqual(textsOf(await registry.source().read(null)), { a: "1" });
  registry.index("v1", [{ digest: one }, { digest: two }]);
  await assert.rejects(() => registry.source().read(null), {
    code: "source.not_supported",
    message: `Cannot choose from the index ${ARTIFACT}:v1: it holds 2 artifacts without platform`,
    hint: "name one of them by its digest",
  });
});

Deno.test("what is missing is told apart", async () => {
  const registry = new TestRegistry();
  registry.artifact("v1", []);
  await assert.rejects(() => registry.source({ artifact: `${ARTIFACT}:v2` }).read(null), {
    code: "source.ref_missing",
    message: `There is no ${ARTIFACT}:v2`,
    hint: "check the tag or digest, or push it",
  });
  await assert.rejects(() => registry.source({ artifact: `${ARTIFACT}:v2` }).read("sha256:x"), {
    code: "source.ref_missing",
  });
  const other = registry.source({ artifact: "registry.example:5000/acme/other" });
  await assert.rejects(() => other.read(null), {
    code: "source.not_found",
    message: "There is no repository registry.example:5000/acme/other",
  });
});

Deno.test("manifests of other kinds are refused with what to do", async () => {
  const registry = new TestRegistry();
  const type = "application/vnd.docker.distribution.manifest.v1+prettyjws";
  registry.document({ schemaVersion: 1 }, type, "v1");
  await assert.rejects(() => registry.source().read(null), {
    code: "source.not_supported",
    message: `Cannot read ${ARTIFACT}:v1: its manifest is "${type}"`,
    hint: "push it again as an OCI artifact, for instance with flowgen push or oras push",
  });
  registry.artifact("v1", [], { layers: [{ mediaType: "x", digest: "sha256:../x", size: 1 }] });
  await assert.rejects(() => registry.source().read(null), {
    code: "source.corrupt",
    message: `Cannot read the manifest of ${ARTIFACT}:v1: "layers.0.digest" is not as the OCI ` +
      "specification wants it",
  });
  registry.document(bytesOf("{"), "application/vnd.oci.image.manifest.v1+json", "v1");
  await assert.rejects(() => registry.source().read(null), { code: "source.corrupt" });
});

Deno.test("Docker's manifests and lists are read, and those that do not name their type", async () => {
  const registry = new TestRegistry();
  const docker = "application/vnd.docker.distribution";
  const bytes = tgz({ a: "1" });
  const mediaType = "application/vnd.docker.image.rootfs.diff.tar.gzip";
  const manifest = {
    schemaVersion: 2,
    config: { mediaType: "application/vnd.docker.container.image.v1+json" },
    layers: [{ mediaType, digest: registry.blob(bytes), size: bytes.length }],
  };
  const digest = registry.document(manifest, `${docker}.manifest.v2+json; charset=utf-8`, "v1");
  assert.deepEqual(textsOf(await registry.source().read(null)), { a: "1" });
  const entry = { mediaType: `${docker}.manifest.v2+json`, digest, size: 1 };
  const platform = { os: "linux", architecture: "amd64" };
  const list = { schemaVersion: 2, manifests: [{ ...entry, platform }] };
  registry.document(list, `${docker}.manifest.list.v2+json`, "v1");
  assert.deepEqual(textsOf(await registry.source().read(null)), { a: "1" });
});

Deno.test("a manifest that is not that of its digest, or endless, is refused", async () => {
  const registry = new TestRegistry();
  const digest = registry.artifact("v1", []);
  const bytes = registry.manifests.get(digest)!.bytes;
  registry.manifests.get(digest)!.bytes = bytesOf(new TextDecoder().decode(bytes) + " ");
  await assert.rejects(() => registry.source().read(null), {
    code: "source.digest_mismatch",
    message: /^Cannot use the manifest of .*:v1: it should have the digest sha256:\w+ and has sha2/,
  });
  registry.manifests.get(digest)!.bytes = new Uint8Array(4 * 1024 * 1024 + 1);
  await assert.rejects(() => registry.source().read(null), {
    code: "source.too_large",
    message: `Cannot read the manifest of ${ARTIFACT}:v1: it has more than 4194304 bytes`,
  });
});

Deno.test("files beyond the limits are refused with the key to raise", async () => {
  const registry = new TestRegistry();
  const of = (name: string) => `Cannot use ${ARTIFACT}:${name}: it has`;
  registry.artifact("v1", [{ title: "a", bytes: new Uint8Array(11) }]);
  const read = (limits: object) => registry.source({ limits: { ...LIMITS, ...limits } }).read(null);
  await assert.rejects(() => read({ maxFileSize: 10 }), {
    code: "source.too_large",
    message: `Cannot use "a" of ${ARTIFACT}:v1: it has 11 bytes, and max_file_size is 10`,
    hint: "raise max_file_size, or leave the file out",
  });
  assert.equal(registry.log.filter((line) => line.includes("blobs/")).length, 0);
  registry.artifact("v1", [
    { title: "a", bytes: new Uint8Array(6) },
    { title: "b", bytes: new Uint8Array(7) },
  ]);
  await assert.rejects(() => read({ maxTotalSize: 12 }), {
    code: "source.too_large",
    message: `Cannot use ${ARTIFACT}:v1: its files have more than max_total_size, 12 bytes`,
  });
  assert.ok(await read({ maxTotalSize: 13 }));
  await assert.rejects(() => read({ maxFiles: 1 }), {
    code: "source.too_large",
    message: `${of("v1")} more than max_files, 1 files`,
  });
  const many = Array.from({ length: 10_001 }, () => ({ title: "a", bytes: bytesOf("") }));
  registry.artifact("v1", many);
  await assert.rejects(() => read({}), {
    code: "source.too_large",
    message: `${of("v1")} 10001 layers, and 10000 are the most`,
  });
});

Deno.test("layers that were kept count as much as new ones", async () => {
  const registry = new TestRegistry();
  const source = registry.source({ limits: { ...LIMITS, maxTotalSize: 10 } });
  const kept = { title: "a", bytes: new Uint8Array(6) };
  registry.artifact("v1", [kept]);
  const { version } = (await source.read(null))!;
  registry.artifact("v1", [kept, { title: "b", bytes: new Uint8Array(7) }]);
  await assert.rejects(() => source.read(version), { code: "source.too_large" });
});

Deno.test("files are bytes, and text only where they are UTF-8", async () => {
  const registry = new TestRegistry();
  registry.artifact("v1", [{ title: "x.bin", bytes: new Uint8Array([0xff, 0]) }]);
  const file = (await registry.source().read(null))!.files.get("x.bin")!;
  assert.deepEqual(file.bytes(), new Uint8Array([0xff, 0]));
  assert.throws(() => file.text(), {
    code: "source.not_text",
    message: "Cannot read x.bin as text",
  });
});
