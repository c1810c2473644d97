/** The OCI source and push against a real registry, artifacts of `oras`, and a registry in trouble. */
import assert from "node:assert/strict";
import { dirname, join } from "node:path";
import { gzipSync } from "node:zlib";
import { systemClock } from "../../../src/core/clock.ts";
import { silentLog } from "../../../src/core/log.ts";
import { fileLogins } from "../../../src/source/oci/login.ts";
import { ociSource, type OciSourceOptions } from "../../../src/source/oci/oci_source.ts";
import { artifactOf, packFolder } from "../../../src/source/oci/pack.ts";
import { pushArtifact } from "../../../src/source/oci/push.ts";
import { parseReference } from "../../../src/source/oci/reference.ts";
import { cutAfter, damaged, FaultProxy } from "./proxy.ts";
import { Registry } from "./registry.ts";

const LIMITS = { maxFileSize: 10 * 2 ** 20, maxTotalSize: 100 * 2 ** 20, maxFiles: 10_000 };

function source(artifact: string, more: Partial<OciSourceOptions> = {}) {
  return ociSource({ artifact, limits: LIMITS, clock: systemClock, log: silentLog, ...more });
}

async function texts(artifact: string, more?: Partial<OciSourceOptions>) {
  const snapshot = await source(artifact, more).read(null);
  return Object.fromEntries([...snapshot!.files].map(([path, file]) => [path, file.text()]));
}

async function write(folder: string, files: Record<string, string | Uint8Array>): Promise<void> {
  for (const [path, content] of Object.entries(files)) {
    await Deno.mkdir(dirname(join(folder, path)), { recursive: true });
    const bytes = typeof content === "string" ? new TextEncoder().encode(content) : content;
    await Deno.writeFile(join(folder, path), bytes);
  }
}

/** Runs a program in a folder. */
async function run(cwd: string, command: string, ...args: string[]): Promise<void> {
  const { success, stderr } = await new Deno.Command(command, { args, cwd }).output();
  if (!success) throw new Error(`${command} failed: ${new TextDecoder().decode(stderr)}`);
}

Deno.test("files, folders and archives that oras pushed are read", async () => {
  await using registry = await Registry.start();
  const { folder, host } = registry;
  await write(folder, { "flows/a.yaml": "a: 1", "flows/deep/b.yaml": "b: 1", "x.yaml": "x: 1" });
  // A file gets the media type of a tar, a folder is packed.
  await registry.oras(["push", `${host}/acme/flows:v1`, "x.yaml", "flows"]);
  const expected = { "flows/a.yaml": "a: 1", "flows/deep/b.yaml": "b: 1" };
  assert.deepEqual(await texts(`${host}/acme/flows:v1`), { ...expected, "x.yaml": "x: 1" });

  for (const [archive, option] of [["f.tar", ""], ["f.tar.gz", "-z"], ["f.tar.zst", "--zstd"]]) {
    await run(folder, "tar", ...(option ? [option] : []), "-cf", archive!, "flows");
    const type = `application/vnd.example.tar${archive!.replace("f.tar", "")}`
      .replace(".gz", "+gzip").replace(".zst", "+zstd");
    await registry.oras(["push", `${host}/acme/${option!.length}:v1`, `${archive}:${type}`]);
    assert.deepEqual(await texts(`${host}/acme/${option!.length}:v1`), expected);
  }
});

Deno.test("a version that did not change is one request, and tags are found by version", async () => {
  await using registry = await Registry.start();
  await using proxy = new FaultProxy(registry.host);
  await write(registry.folder, { "a.yaml": "a: 1" });
  for (const tag of ["v1.0.0", "v1.1.0", "v2.0.0"]) {
    await registry.oras(["push", `${registry.host}/acme/flows:${tag}`, "a.yaml"]);
  }
  const flows = source(`${proxy.host}/acme/flows:v1.0.0`);
  const { version } = (await flows.read(null))!;
  proxy.log.length = 0;
  assert.equal(await flows.read(version), null);
  assert.deepEqual(proxy.log, ["HEAD /v2/acme/flows/manifests/v1.0.0"]);
  const chosen = await source(`${proxy.host}/acme/flows`, { semver: "^1" }).read(null);
  assert.equal(chosen!.tag, "v1.1.0");
});

Deno.test("what is pushed from here is read here, and by oras, with credentials", async () => {
  await using registry = await Registry.start({ auth: true });
  const { folder, host } = registry;
  await write(folder, { "flows/a.yaml": "a: 1", "resources/é.sql": "select 1" });
  const logins = fileLogins(await registry.credentials());
  const artifact = artifactOf(await packFolder(folder), {
    "org.opencontainers.image.revision": "x",
  });
  const reference = parseReference(`${host}/acme/flows:v1`);
  await pushArtifact(reference, artifact, { clock: systemClock, logins });
  // Again, for blobs and a tag that are there.
  await pushArtifact(reference, artifact, { clock: systemClock, logins });
  const files = { "flows/a.yaml": "a: 1", "resources/é.sql": "select 1" };
  assert.deepEqual(await texts(reference.text, { logins }), files);
  await registry.oras(["pull", reference.text, "-o", "pulled"]);
  await Deno.mkdir(join(folder, "untarred"));
  await run(folder, "tar", "-xzf", "pulled/workspace.tar.gz", "-C", "untarred");
  assert.equal(await Deno.readTextFile(join(folder, "untarred/resources/é.sql")), "select 1");

  await assert.rejects(() => texts(reference.text), {
    code: "source.auth_failed",
    message: `Cannot read ${host}/acme/flows: ${host} refuses, it wants credentials`,
  });
  const wrong = () => Promise.resolve({ kind: "password", username: "x", password: "y" } as const);
  await assert.rejects(() => texts(reference.text, { logins: wrong }), {
    code: "source.auth_failed",
    message: `Cannot read ${host}/acme/flows: ${host} refuses, it does not accept the ` +
      "credentials (401)",
  });
});

Deno.test("an index of oras is read at its platform", async () => {
  await using registry = await Registry.start();
  const { folder, host } = registry;
  for (const architecture of ["amd64", "arm64"]) {
    const config = JSON.stringify({ os: "linux", architecture });
    await write(folder, { "a.yaml": architecture, "config.json": config });
    const type = "application/vnd.oci.image.config.v1+json";
    const target = `${host}/acme/flows:${architecture}`;
    await registry.oras(["push", target, "--config", `config.json:${type}`, "a.yaml"]);
  }
  await registry.oras(["manifest", "index", "create", `${host}/acme/flows:all`, "amd64", "arm64"]);
  for (const architecture of ["amd64", "arm64"]) {
    const files = await texts(`${host}/acme/flows:all`, { platform: `linux/${architecture}` });
    assert.deepEqual(files, { "a.yaml": architecture });
  }
});

Deno.test("a registry that drops connections is read to the end", async () => {
  await using registry = await Registry.start();
  await using proxy = new FaultProxy(registry.host);
  const big = crypto.getRandomValues(new Uint8Array(60_000));
  await write(registry.folder, { "big.bin": big });
  await registry.oras(["push", `${registry.host}/acme/flows:v1`, "big.bin"]);
  let drops = 2;
  proxy.fault = async ({ url, pass }) => {
    const answer = await pass();
    return url.pathname.includes("/blobs/") && drops-- > 0 ? cutAfter(answer, 20_000) : answer;
  };
  const snapshot = await source(`${proxy.host}/acme/flows:v1`).read(null);
  assert.deepEqual(snapshot!.files.get("big.bin")!.bytes(), big);
  assert.equal(proxy.log.filter((line) => line.includes("/blobs/")).length, 3);
  proxy.fault = async ({ url, pass }) => {
    const answer = await pass();
    return url.pathname.includes("/blobs/") ? cutAfter(answer, 5_000) : answer;
  };
  await assert.rejects(() => source(`${proxy.host}/acme/flows:v1`).read(null), {
    code: "source.unavailable",
  });
});

Deno.test("bytes that change on the way, lengths that lie and patience are told apart", async () => {
  await using registry = await Registry.start();
  await using proxy = new FaultProxy(registry.host);
  await write(registry.folder, { "a.yaml": "a: 1" });
  await registry.oras(["push", `${registry.host}/acme/flows:v1`, "a.yaml"]);
  const read = () => source(`${proxy.host}/acme/flows:v1`).read(null);
  proxy.fault = async ({ url, pass }) =>
    url.pathname.includes("/blobs/") ? damaged(await pass()) : await pass();
  await assert.rejects(read, { code: "source.digest_mismatch" });
  proxy.fault = async ({ url, pass }) =>
    url.pathname.includes("/manifests/") ? damaged(await pass()) : await pass();
  await assert.rejects(read, { code: "source.digest_mismatch" });
  proxy.fault = async ({ url, pass }) => {
    const answer = await pass();
    if (!url.pathname.includes("/blobs/")) return answer;
    await answer.body?.cancel();
    return new Response("far more than the manifest says");
  };
  await assert.rejects(read, { code: "source.corrupt", message: /it should have 4 bytes, and 31/ });
  proxy.fault = () => new Response(null, { status: 429, headers: { "retry-after": "120" } });
  await assert.rejects(read, { code: "source.unavailable", retryAfter: 120_000 });
});

Deno.test("10 GB of zeros are refused fast, with flat memory", async () => {
  await using registry = await Registry.start();
  const { folder, host } = registry;
  // 160 members of 64 MiB: a file of 10 MB.
  const member = gzipSync(new Uint8Array(64 * 2 ** 20));
  const bomb = new Uint8Array(160 * member.length);
  for (let at = 0; at < bomb.length; at += member.length) bomb.set(member, at);
  await write(folder, { "zeros": bomb });
  for (const type of ["text/plain+gzip", "application/vnd.example.tar+gzip"]) {
    await registry.oras(["push", `${host}/acme/flows:v1`, `zeros:${type}`]);
    const before = Deno.memoryUsage().rss;
    await assert.rejects(() => source(`${host}/acme/flows:v1`).read(null), {
      code: "source.too_large",
    });
    const grown = Deno.memoryUsage().rss - before;
    assert.ok(grown < 128 * 2 ** 20, `memory grew by ${grown} bytes`);
  }
});

Deno.test("archives of the real tar with paths that leave them are refused, links are told", async () => {
  await using registry = await Registry.start();
  const { folder, host } = registry;
  await write(folder, { "in/flows/a.yaml": "a: 1" });
  await Deno.symlink("a.yaml", join(folder, "in/flows/link.yaml"));
  await Deno.link(join(folder, "in/flows/a.yaml"), join(folder, "in/flows/twin.yaml"));
  const push = async (...args: string[]) => {
    await run(folder, "tar", "-czf", "x.tar.gz", ...args);
    await registry.oras(["push", `${host}/acme/flows:v1`, "x.tar.gz:application/vnd.x.tar+gzip"]);
    return await source(`${host}/acme/flows:v1`).read(null);
  };
  const snapshot = await push("-C", "in", "--sort=name", ".");
  assert.deepEqual([...snapshot!.files.keys()], ["flows/a.yaml"]);
  assert.deepEqual(snapshot!.problems.map(({ error }) => error.message), [
    "Not read, for they are no files: flows/link.yaml, flows/twin.yaml",
  ]);
  for (const start of ["../", "/", "flows\\"]) {
    const rename = `--transform=s|^flows/a|${start.replace("\\", "\\\\")}a|`;
    await assert.rejects(() => push("-P", rename, "-C", "in", "flows/a.yaml"), {
      code: "source.path_unsafe",
      message: new RegExp(
        `^Cannot use the path ${RegExp.escape(JSON.stringify(`${start}a.yaml`))} `,
      ),
    });
  }
});
