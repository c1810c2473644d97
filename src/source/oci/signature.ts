import * as v from "valibot";
import { digestOf } from "./digest.ts";
import type { PublicKeys } from "./keys.ts";
import type { Document } from "./manifest.ts";

const SimpleSigning = v.object({
  critical: v.object({
    image: v.object({ "docker-manifest-digest": v.string() }),
    type: v.literal("cosign container image signature"),
  }),
});

const Base64 = v.pipe(v.string(), v.transform((text) => Uint8Array.fromBase64(text)));

const Bundle = v.object({
  dsseEnvelope: v.optional(v.object({
    payload: Base64,
    payloadType: v.string(),
    signatures: v.array(v.object({ sig: Base64 })),
  })),
  messageSignature: v.optional(v.object({ signature: Base64 })),
});

const Statement = v.object({
  predicateType: v.string(),
  subject: v.array(v.object({ digest: v.record(v.string(), v.string()) })),
});

const STATEMENT = "application/vnd.in-toto+json";
/** Other statements under the same key say something about an artifact, not that it is good. */
const SIGNED = "https://sigstore.dev/cosign/sign/v1";

/**
 * Whether a payload in the "simple signing" form is signed and speaks of this document.
 * See https://github.com/sigstore/cosign/blob/main/specs/SIGNATURE_SPEC.md
 *
 * @param signature Base64, from the layer's annotation.
 */
export function signedPayload(
  payload: Uint8Array,
  signature: string,
  { digest }: Document,
  keys: PublicKeys,
): boolean {
  return attempt(() => {
    if (!keys.verify(payload, Uint8Array.fromBase64(signature))) return false;
    const { critical } = v.parse(SimpleSigning, parseJson(payload));
    return critical.image["docker-manifest-digest"] === digest;
  });
}

/**
 * Whether a Sigstore bundle (v0.3) holds a signature of this document: over its bytes, or over a
 * statement that names it. The key is the one given, never one that the bundle brings.
 * See https://docs.sigstore.dev/about/bundle/
 */
export function signedBundle(bytes: Uint8Array, document: Document, keys: PublicKeys): boolean {
  return attempt(() => {
    const { dsseEnvelope, messageSignature } = v.parse(Bundle, parseJson(bytes));
    if (messageSignature) return keys.verify(document.bytes, messageSignature.signature);
    if (dsseEnvelope?.payloadType !== STATEMENT) return false;
    const { payload, payloadType, signatures } = dsseEnvelope;
    const signed = preAuthEncoding(payloadType, payload);
    if (!signatures.some(({ sig }) => keys.verify(signed, sig))) return false;
    const { predicateType, subject } = v.parse(Statement, parseJson(payload));
    return predicateType === SIGNED && subject.some(({ digest }) => isOf(digest, document));
  });
}

/** What DSSE signs: https://github.com/secure-systems-lab/dsse/blob/master/protocol.md */
function preAuthEncoding(type: string, body: Uint8Array): Uint8Array {
  const head = `DSSEv1 ${new TextEncoder().encode(type).length} ${type} ${body.length} `;
  return Uint8Array.from([...new TextEncoder().encode(head), ...body]);
}

/** Digests by algorithm; all that are known must fit. */
function isOf(digests: Record<string, string>, { bytes }: Document): boolean {
  const known = Object.entries(digests).filter(([name]) => name === "sha256" || name === "sha512");
  return known.length > 0 &&
    known.every(([name, hex]) => digestOf(bytes, `${name}:`) === `${name}:${hex}`);
}

function parseJson(bytes: Uint8Array): unknown {
  return JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
}

/** What is not as it should be is no signature. */
function attempt(check: () => boolean): boolean {
  try {
    return check();
  } catch {
    return false;
  }
}
