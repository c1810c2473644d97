/** What `sources:` says of trust, bounds and credentials holds for the flows that run in the end. */
import assert from "node:assert/strict";
import { generateKeyPairSync, sign } from "node:crypto";
import { join } from "node:path";
import { isDeepStrictEqual } from "node:util";
import { systemClock } from "../../../src/core/clock.ts";
import { digestOf } from "../../../src/source/oci/digest.ts";
import { fileLogins } from "../../../src/source/oci/login.ts";
import { MEDIA } from "../../../src/source/oci/manifest.ts";
import { artifactOf, packFolder } from "../../../src/source/oci/pack.ts";
import { pushArtifact } from "../../../src/source/oci/push.ts";
import { parseReference } from "../../../src/source/oci/reference.ts";
import { ED25519, useKey } from "../git/signing.ts";
import { Registry } from "../oci/registry.ts";
import { answers, type Live, type Scene, withScene } from "./scene.ts";

/** What `flowgen sync` fails with. */
async function refusal(node: Live): Promise<[code: string, message: string]> {
  const { code, message } = await node.sync().then(
    () => assert.fail("it was not refused"),
    (cause) => cause as { code: string; message: string },
  );
  return [code, message];
}

/** Pushes one flow to a registry that wants credentials; gives the digest. */
async function pushFlow({ folder }: Scene, registry: Registry, text: string): Promise<string> {
  const content = join(folder, "content");
  await Deno.mkdir(join(content, "flows"), { recursive: true });
  await Deno.writeTextFile(join(content, "flows/a.yaml"), text);
  const artifact = artifactOf(await packFolder(content), {});
  const logins = fileLogins(await registry.credentials());
  const reference = parseReference(`${registry.host}/acme/flows:main`);
  await pushArtifact(reference, artifact, { logins, clock: systemClock });
  return artifact.digest;
}

const { publicKey, privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });

/** Signs a digest as `cosign sign --key` does. */
async function cosign(registry: Registry, digest: string): Promise<void> {
  const payload = new TextEncoder().encode(JSON.stringify({
    critical: {
      identity: {},
      image: { "docker-manifest-digest": digest },
      type: "cosign container image signature",
    },
    optional: null,
  }));
  const config = new TextEncoder().encode("{}");
  const descriptor = (mediaType: string, bytes: Uint8Array, annotations = {}) => ({
    mediaType,
    digest: digestOf(bytes),
    size: bytes.length,
    annotations,
  });
  const signature = descriptor("application/vnd.dev.cosign.simplesigning.v1+json", payload, {
    "dev.cosignproject.cosign/signature": sign("sha256", payload, privateKey).toString("base64"),
  });
  const empty = descriptor(MEDIA.empty, config);
  const manifest = new TextEncoder().encode(JSON.stringify({
    schemaVersion: 2,
    mediaType: MEDIA.manifest,
    config: empty,
    layers: [signature],
  }));
  const tag = `${digest.replace(":", "-")}.sig`;
  await pushArtifact(parseReference(`${registry.host}/acme/flows:${tag}`), {
    manifest,
    digest: digestOf(manifest),
    blobs: [{ descriptor: empty, bytes: config }, { descriptor: signature, bytes: payload }],
  }, { logins: fileLogins(await registry.credentials()), clock: systemClock });
}

Deno.test("a commit that no listed key has signed does not go live, whoever pushed it", async () => {
  await withScene(async ({ repository, source, start, write }) => {
    const key = await useKey(repository, "ada", ...ED25519);
    const ssh_keys_path = await write("keys", `# who may release\n\n${key}\n`);
    await repository.commit({ "flows/a.yaml": answers("/a", "one") }, "-S");
    const node = await start({ sources: [source({ verify: { ssh_keys_path } })] });
    await node.answers("/a", "one");

    const unsigned = await repository.commit({ "flows/a.yaml": answers("/a", "two") });
    assert.deepEqual(await refusal(node), [
      "source.unverified",
      `Cannot trust the commit ${unsigned}: it is not signed`,
    ]);
    assert.deepEqual(await node.get("/a"), [200, "one"]);
    const [state] = node.runtime.status().sources;
    assert.equal(state!.error!.code, "source.unverified");
    assert.equal((await node.workspaces())[0]!.versions.length, 1, "nor is it stored");

    await repository.commit({ "flows/a.yaml": answers("/a", "three") }, "-S");
    await node.sync();
    assert.deepEqual(await node.get("/a"), [200, "three"]);
  });
});

Deno.test("an artifact behind credentials that the key has not signed does not go live", async () => {
  await using registry = await Registry.start({ auth: true });
  await withScene(async (scene) => {
    const { source, start, write } = scene;
    const oci = { artifact: `${registry.host}/acme/flows:main` };
    const pem = publicKey.export({ type: "spki", format: "pem" }) as string;
    const verify = { cosign_key_path: await write("cosign.pub", pem) };
    const credentials_path = await registry.credentials();
    await cosign(registry, await pushFlow(scene, registry, answers("/a", "one")));
    const node = await start({
      sources: [source({ git: undefined, oci, verify, credentials_path })],
    });
    await node.answers("/a", "one");

    const unsigned = await pushFlow(scene, registry, answers("/a", "two"));
    assert.deepEqual(await refusal(node), [
      "source.unverified",
      `Cannot trust ${oci.artifact}: there is no signature of ${unsigned}`,
    ]);
    assert.deepEqual(await node.get("/a"), [200, "one"]);
    assert.equal((await node.workspaces())[0]!.versions.length, 1, "nor is it stored");

    await cosign(registry, unsigned);
    await node.sync();
    assert.deepEqual(await node.get("/a"), [200, "two"]);
  });
});

Deno.test("limits of a source bound what it reads, from Git and from a registry", async () => {
  await using registry = await Registry.start({ auth: true });
  await withScene(async (scene) => {
    const { repository, source, start } = scene;
    const large = `# ${"x".repeat(2_000)}\n`;
    await repository.commit({ "flows/a.yaml": answers("/a", "one") });
    await pushFlow(scene, registry, answers("/b", "one"));
    const limits = { max_file_size: "1KiB", max_total_size: "1KiB", max_files: 1 };
    const node = await start({
      sources: [
        source({ limits }),
        source({
          name: "artifact",
          prefix: "artifact",
          git: undefined,
          oci: { artifact: `${registry.host}/acme/flows:main` },
          credentials_path: await registry.credentials(),
          limits,
        }),
      ],
    });
    await node.answers("/a", "one");
    await node.answers("/b", "one");
    await repository.commit({ "flows/a.yaml": answers("/a", "two") + large });
    await pushFlow(scene, registry, answers("/b", "two") + large);
    for (const name of ["demo", "artifact"]) {
      await assert.rejects(() => node.sync(name), { code: "source.too_large", message: /1024/ });
    }
    await repository.commit({ "flows/a.yaml": answers("/a", "three"), "flows/b.yaml": "" });
    await assert.rejects(() => node.sync(), { code: "source.too_large", message: /than 1 files/ });
    assert.deepEqual(await node.get("/a"), [200, "one"]);
    assert.deepEqual(await node.get("/b"), [200, "one"]);
  });
});

Deno.test("of sources with a flow of one name the first in the configuration runs it, files before all", async () => {
  await withScene(async ({ folder, repository, server, start }) => {
    const url = `${server.url}/flows.git`;
    await repository.commit({ "flows/a.yaml": answers("/a", "main"), "flows/b.yaml": "" });
    for (const branch of ["first", "second"]) {
      await repository.git("checkout", "--quiet", "-B", branch, "main");
      await repository.commit({
        "flows/a.yaml": answers("/a", branch),
        "flows/b.yaml": answers("/b", branch),
      });
    }
    const flows = join(folder, "local");
    await Deno.mkdir(flows);
    await Deno.writeTextFile(join(flows, "b.yaml"), answers("/b", "file"));
    // Not in the order of their names.
    const sources = [["zeta", "first"], ["alpha", "second"]]
      .map(([name, branch]) => ({ name, git: { url, branch }, interval: "1h" }));
    const node = await start({ sources, flows: { path: flows } });
    const state = () =>
      node.runtime.status().flows
        .map(({ identity, source, state, error }) => [identity, source, state, error?.code]);
    const settled = [
      ["a", "workspace:zeta", "running", undefined],
      ["a", "workspace:alpha", "invalid", "flow.shadowed"],
      ["b", "files", "running", undefined],
      ["b", "workspace:zeta", "invalid", "flow.shadowed"],
      ["b", "workspace:alpha", "invalid", "flow.shadowed"],
    ];
    await node.until("both have come", () => state().length === 5);
    // The one that came first may have run what the other one takes over.
    await node.until("zeta runs it", async () => (await node.get("/a"))[1] === "first");
    await node.until("all have their states", () => isDeepStrictEqual(state(), settled));
    assert.deepEqual(await node.get("/a"), [200, "first"]);
    assert.deepEqual(await node.get("/b"), [200, "file"]);
  });
});
