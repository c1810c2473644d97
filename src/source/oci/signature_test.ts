import assert from "node:assert/strict";
import signed from "./cosign_signed.json" with { type: "json" };
import { digestOf } from "./digest.ts";
import { parseKeys } from "./keys.ts";
import type { Document } from "./manifest.ts";
import { signedBundle, signedPayload } from "./signature.ts";

const keys = parseKeys(signed.key);
const payload = Uint8Array.fromBase64(signed.payload);
const bundle = Uint8Array.fromBase64(signed.bundle);

function documentOf(bytes: Uint8Array<ArrayBuffer>): Document {
  return { bytes, digest: digestOf(bytes), mediaType: "" };
}

const document = documentOf(Uint8Array.fromBase64(signed.manifest));
const other = documentOf(new TextEncoder().encode("{}"));

Deno.test("what the real cosign signed is signed", () => {
  assert.equal(signedPayload(payload, signed.signature, document, keys), true);
  assert.equal(signedBundle(bundle, document, keys), true);
});

Deno.test("and it is so for that document, that payload and that key only", () => {
  assert.equal(signedPayload(payload, signed.signature, other, keys), false);
  assert.equal(signedBundle(bundle, other, keys), false);
  const changed = payload.slice();
  changed[changed.length - 2]! ^= 1;
  assert.equal(signedPayload(changed, signed.signature, document, keys), false);
  assert.equal(signedPayload(payload, "bm9uZQ==", document, keys), false);
  assert.equal(signedPayload(payload, "no base64!", document, keys), false);
  const none = { verify: () => false };
  assert.equal(signedPayload(payload, signed.signature, document, none), false);
  assert.equal(signedBundle(bundle, document, none), false);
});
