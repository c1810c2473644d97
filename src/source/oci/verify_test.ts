import assert from "node:assert/strict";
import { generateKeyPairSync, sign } from "node:crypto";
import { digestOf } from "./digest.ts";
import { MEDIA } from "./manifest.ts";
import { ARTIFACT, bytesOf, TestRegistry } from "./testing.ts";

const PAYLOAD = "application/vnd.dev.cosign.simplesigning.v1+json";
const BUNDLE = "application/vnd.dev.sigstore.bundle.v0.3+json";
const SIGNED = "https://sigstore.dev/cosign/sign/v1";

const { publicKey, privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
const stranger = generateKeyPairSync("ec", { namedCurve: "P-256" }).privateKey;
const verify = { cosign_key: publicKey.export({ type: "spki", format: "pem" }) as string };

function signed(content: Uint8Array, key = privateKey): string {
  return new Uint8Array(sign("sha256", content, key)).toBase64();
}

function json(value: unknown): Uint8Array<ArrayBuffer> {
  return bytesOf(JSON.stringify(value));
}

/** A registry with an artifact at `v1`. */
function withArtifact(): { registry: TestRegistry; digest: string } {
  const registry = new TestRegistry();
  const digest = registry.artifact("v1", [{ title: "a", bytes: bytesOf("1") }]);
  return { registry, digest };
}

function payloadOf(digest: string, type = "cosign container image signature"): Uint8Array {
  const image = { "docker-manifest-digest": digest };
  return json({ critical: { identity: {}, image, type }, optional: null });
}

/** A signature as a layer. */
function layer(registry: TestRegistry, payload: Uint8Array, key = privateKey) {
  return {
    mediaType: PAYLOAD,
    digest: registry.blob(payload),
    size: payload.length,
    annotations: { "dev.cosignproject.cosign/signature": signed(payload, key) },
  };
}

/** Puts signatures under the tag that cosign gives them. */
function tagged(registry: TestRegistry, digest: string, layers: object[]): void {
  registry.artifact(`${digest.replace(":", "-")}.sig`, [], { layers });
}

function bundleOf(payload: Uint8Array, type = "application/vnd.in-toto+json", key = privateKey) {
  const head = bytesOf(`DSSEv1 ${type.length} ${type} ${payload.length} `);
  const sig = signed(Uint8Array.from([...head, ...payload]), key);
  return json({
    mediaType: BUNDLE,
    verificationMaterial: { publicKey: { hint: "x" }, tlogEntries: [] },
    dsseEnvelope: { payload: payload.toBase64(), payloadType: type, signatures: [{ sig }] },
  });
}

function statement(digest: string, predicateType = SIGNED): Uint8Array {
  const [algorithm, hex] = digest.split(":");
  return json({
    _type: "https://in-toto.io/Statement/v1",
    subject: [{ digest: { [algorithm!]: hex } }],
    predicateType,
    predicate: {},
  });
}

/** A referrer with one blob, as an entry of the index. */
function referrer(registry: TestRegistry, bytes: Uint8Array, more: object = {}) {
  const digest = registry.artifact(undefined, [{ mediaType: BUNDLE, bytes }]);
  return { mediaType: MEDIA.manifest, digest, size: 1, artifactType: BUNDLE, ...more };
}

function referrers(registry: TestRegistry, digest: string, manifests: object[]): void {
  registry.referrers.set(digest, { schemaVersion: 2, mediaType: MEDIA.index, manifests });
}

async function trusts(registry: TestRegistry): Promise<boolean> {
  try {
    await registry.source({ verify }).read(null);
    return true;
  } catch (cause) {
    assert.equal((cause as { code?: string }).code, "source.unverified");
    return false;
  }
}

Deno.test("what nobody signed is not read, and its layers are not asked for", async () => {
  const { registry, digest } = withArtifact();
  await assert.rejects(() => registry.source({ verify }).read(null), {
    code: "source.unverified",
    message: `Cannot trust ${ARTIFACT}:v1: there is no signature of ${digest}`,
    hint: `sign it: cosign sign --key cosign.key ${ARTIFACT}@<digest>`,
  });
  assert.ok(!registry.log.some((line) => line.includes("blobs/")));
});

Deno.test("a signature under cosign's tag by the key is trust", async () => {
  const { registry, digest } = withArtifact();
  tagged(registry, digest, [layer(registry, payloadOf(digest), stranger)]);
  await assert.rejects(() => registry.source({ verify }).read(null), {
    code: "source.unverified",
    message: `Cannot trust ${ARTIFACT}:v1: no signature of ${digest} is by verify.cosign_key`,
  });
  tagged(registry, digest, [
    layer(registry, payloadOf(digest), stranger),
    layer(registry, payloadOf(digest)),
  ]);
  assert.equal(await trusts(registry), true);
});

Deno.test("a signature of something else is none", async () => {
  const { registry, digest } = withArtifact();
  const other = digestOf(bytesOf("other"));
  tagged(registry, digest, [layer(registry, payloadOf(other))]);
  assert.equal(await trusts(registry), false);
  tagged(registry, digest, [layer(registry, payloadOf(digest, "atomic"))]);
  assert.equal(await trusts(registry), false);
  // The signature of one payload at another one.
  const foreign = layer(registry, payloadOf(other));
  tagged(registry, digest, [{
    ...layer(registry, payloadOf(digest)),
    annotations: foreign.annotations,
  }]);
  assert.equal(await trusts(registry), false);
  tagged(registry, digest, [{ ...foreign, annotations: {} }]);
  assert.equal(await trusts(registry), false);
});

Deno.test("bundles among the referrers are trust, over a statement or the bytes", async () => {
  const { registry, digest } = withArtifact();
  const good = bundleOf(statement(digest));
  const list = (bytes: Uint8Array, more?: object) =>
    referrers(registry, digest, [referrer(registry, bytes, more)]);
  list(good);
  assert.equal(await trusts(registry), true);
  list(good, { artifactType: "application/vnd.example.sbom" });
  assert.equal(await trusts(registry), false);
  list(bundleOf(statement(digest), undefined, stranger));
  assert.equal(await trusts(registry), false);
  list(bundleOf(statement(digestOf(bytesOf("other")))));
  assert.equal(await trusts(registry), false);
  // A signed list of known holes is no approval.
  list(bundleOf(statement(digest, "https://cosign.sigstore.dev/attestation/vuln/v1")));
  assert.equal(await trusts(registry), false);
  list(bundleOf(statement(digest), "application/json"));
  assert.equal(await trusts(registry), false);
  list(bytesOf("{"));
  assert.equal(await trusts(registry), false);

  const { bytes } = registry.manifests.get(digest)!;
  list(json({ messageSignature: { signature: signed(bytes) } }));
  assert.equal(await trusts(registry), true);
  list(json({ messageSignature: { signature: signed(bytes, stranger) } }));
  assert.equal(await trusts(registry), false);
});

Deno.test("older signatures may be referrers too", async () => {
  const { registry, digest } = withArtifact();
  const manifest = registry.artifact(undefined, [], {
    layers: [layer(registry, payloadOf(digest))],
  });
  const artifactType = "application/vnd.dev.cosign.artifact.sig.v1+json";
  referrers(registry, digest, [{
    mediaType: MEDIA.manifest,
    digest: manifest,
    size: 1,
    artifactType,
  }]);
  assert.equal(await trusts(registry), true);
});

Deno.test("without a referrers API the fallback tag is read", async () => {
  const { registry, digest } = withArtifact();
  const entry = referrer(registry, bundleOf(statement(digest)));
  const index = { schemaVersion: 2, mediaType: MEDIA.index, manifests: [entry] };
  registry.document(index, MEDIA.index, digest.replace(":", "-"));
  assert.equal(await trusts(registry), true);
});

Deno.test("of an index the index must be signed, not what was chosen from it", async () => {
  const { registry, digest } = withArtifact();
  const index = registry.index("v1", [{ digest, platform: "linux/amd64" }]);
  referrers(registry, digest, [referrer(registry, bundleOf(statement(digest)))]);
  assert.equal(await trusts(registry), false);
  referrers(registry, index, [referrer(registry, bundleOf(statement(index)))]);
  assert.equal(await trusts(registry), true);
});

Deno.test("a damaged signature does not stand before a good one, trouble does", async () => {
  const { registry, digest } = withArtifact();
  const lost = { ...layer(registry, payloadOf(digest)), digest: digestOf(bytesOf("lost")) };
  tagged(registry, digest, [lost, layer(registry, payloadOf(digest))]);
  assert.equal(await trusts(registry), true);
  registry.intercept = ({ url }) =>
    url.pathname.endsWith(".sig")
      ? new Response(null, { status: 429, headers: { "retry-after": "60" } })
      : null;
  await assert.rejects(() => registry.source({ verify }).read(null), {
    code: "source.unavailable",
  });
});

Deno.test("what was signed after it was pushed is read then", async () => {
  const { registry, digest } = withArtifact();
  const source = registry.source({ verify });
  await assert.rejects(() => source.read(null), { code: "source.unverified" });
  tagged(registry, digest, [layer(registry, payloadOf(digest))]);
  assert.equal((await source.read(null))!.version, digest);
});

Deno.test("what a store had before verify was set is looked at too, once", async () => {
  const { registry, digest } = withArtifact();
  const source = registry.source({ verify });
  await assert.rejects(() => source.read(digest), { code: "source.unverified" });
  tagged(registry, digest, [layer(registry, payloadOf(digest))]);
  assert.equal(await source.read(digest), null);
  registry.log.length = 0;
  assert.equal(await source.read(digest), null);
  assert.deepEqual(registry.log, ["HEAD manifests/v1"]);
});

Deno.test("of very many referrers a hundred are looked at", async () => {
  const { registry, digest } = withArtifact();
  const nothing = registry.artifact(undefined, []);
  const entry = { mediaType: MEDIA.manifest, digest: nothing, size: 1, artifactType: BUNDLE };
  referrers(registry, digest, Array.from({ length: 500 }, () => entry));
  assert.equal(await trusts(registry), false);
  assert.equal(registry.log.filter((line) => line === `GET manifests/${nothing}`).length, 100);
});
