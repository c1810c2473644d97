/** Signatures of `git commit -S` with `gpg.format=ssh`: PROTOCOL.sshsig of OpenSSH. */
import { concat } from "./bytes.ts";
import { type SshKey, SshReader } from "./ssh_key.ts";

const MAGIC = "SSHSIG";
const NAMESPACE = "git";
const DIGESTS: Readonly<Record<string, string>> = { sha256: "SHA-256", sha512: "SHA-512" };
/** Shorter RSA keys can be broken. */
const SHORTEST_RSA = 2048 / 8;

interface Scheme {
  readonly keyType: string;
  readonly importAs: EcKeyImportParams | RsaHashedImportParams | Algorithm;
  readonly verifyAs: EcdsaParams | Algorithm;
  /** The key for WebCrypto, from what follows its type. */
  readonly jwk: (key: SshReader) => JsonWebKey | undefined;
  /** The signature for WebCrypto. */
  readonly raw: (signature: Uint8Array, key: JsonWebKey) => Uint8Array;
}

/** By the type that a signature names. `ssh-rsa` is missing: it means SHA-1. */
const SCHEMES: Readonly<Record<string, Scheme>> = {
  "ssh-ed25519": {
    keyType: "ssh-ed25519",
    importAs: { name: "Ed25519" },
    verifyAs: { name: "Ed25519" },
    jwk: (key) => ({ kty: "OKP", crv: "Ed25519", x: base64Url(key.bytes()) }),
    raw: (signature) => signature,
  },
  "ecdsa-sha2-nistp256": ecdsa("ecdsa-sha2-nistp256", "P-256", "SHA-256", 32),
  "ecdsa-sha2-nistp384": ecdsa("ecdsa-sha2-nistp384", "P-384", "SHA-384", 48),
  "rsa-sha2-256": rsa("SHA-256"),
  "rsa-sha2-512": rsa("SHA-512"),
};

function ecdsa(keyType: string, namedCurve: string, hash: string, bytes: number): Scheme {
  return {
    keyType,
    importAs: { name: "ECDSA", namedCurve },
    verifyAs: { name: "ECDSA", hash },
    jwk(key) {
      key.bytes(); // the curve's name once more
      const point = key.bytes();
      if (point.length !== 1 + 2 * bytes || point[0] !== 4) return undefined;
      const [x, y] = [point.subarray(1, 1 + bytes), point.subarray(1 + bytes)];
      return { kty: "EC", crv: namedCurve, x: base64Url(x), y: base64Url(y) };
    },
    raw(signature) {
      const reader = new SshReader(signature);
      return concat([reader.number(bytes), reader.number(bytes)]);
    },
  };
}

function rsa(hash: string): Scheme {
  return {
    keyType: "ssh-rsa",
    importAs: { name: "RSASSA-PKCS1-v1_5", hash },
    verifyAs: { name: "RSASSA-PKCS1-v1_5" },
    jwk(key) {
      const [e, n] = [key.number(), key.number()];
      return n.length < SHORTEST_RSA ? undefined : { kty: "RSA", e: base64Url(e), n: base64Url(n) };
    },
    raw: (signature) => signature,
  };
}

function base64Url(bytes: Uint8Array): string {
  return bytes.toBase64({ alphabet: "base64url", omitPadding: true });
}

/** The key that made a signature, or why none of the allowed ones did. */
export type Verdict = { key: SshKey } | { reason: string };

/**
 * @param armored From `-----BEGIN SSH SIGNATURE-----` on.
 * @param message What was signed.
 */
export async function verifySshSignature(
  armored: string,
  message: Uint8Array,
  allowed: readonly SshKey[],
): Promise<Verdict> {
  const reader = readArmored(armored);
  if (!reader) return { reason: "its signature is not one of SSH" };
  const version = reader.uint32();
  const blob = reader.bytes();
  const [namespace, reserved, digest] = [reader.text(), reader.bytes(), reader.text()];
  const signature = new SshReader(reader.bytes());
  if (version !== 1 || namespace !== NAMESPACE || !DIGESTS[digest]) {
    return { reason: "its signature was made for something else" };
  }
  const key = allowed.find((key) => sameBytes(key.blob, blob));
  if (!key) return { reason: "it is signed by a key that is not in the list" };
  const scheme = SCHEMES[signature.text()];
  if (!scheme || scheme.keyType !== key.type) {
    return { reason: "its signature is of a kind that is not accepted" };
  }
  const hash = await crypto.subtle.digest(DIGESTS[digest]!, message as Uint8Array<ArrayBuffer>);
  const signed = concat([
    new TextEncoder().encode(MAGIC),
    ...[new TextEncoder().encode(namespace), reserved, new TextEncoder().encode(digest)].map(sized),
    sized(new Uint8Array(hash)),
  ]);
  return await holds(scheme, key, signature.bytes(), signed)
    ? { key }
    : { reason: "its signature does not fit its content" };
}

async function holds(
  { importAs, verifyAs, jwk, raw }: Scheme,
  { blob }: SshKey,
  signature: Uint8Array,
  signed: Uint8Array,
): Promise<boolean> {
  const parts = new SshReader(blob);
  parts.text();
  const key = jwk(parts);
  if (!key) return false;
  try {
    const imported = await crypto.subtle.importKey("jwk", key, importAs, false, ["verify"]);
    const bytes = raw(signature, key) as Uint8Array<ArrayBuffer>;
    return await crypto.subtle.verify(verifyAs, imported, bytes, signed as Uint8Array<ArrayBuffer>);
  } catch {
    return false; // a key or signature that no such algorithm knows
  }
}

function readArmored(text: string): SshReader | undefined {
  const body = /^-----BEGIN SSH SIGNATURE-----([\sA-Za-z0-9+/=]*)-----END SSH SIGNATURE-----\s*$/
    .exec(text)?.[1];
  if (body === undefined) return undefined;
  try {
    const data = Uint8Array.fromBase64(body);
    const magic = new TextDecoder().decode(data.subarray(0, MAGIC.length));
    return magic === MAGIC ? new SshReader(data.subarray(MAGIC.length)) : undefined;
  } catch {
    return undefined;
  }
}

function sized(bytes: Uint8Array): Uint8Array {
  const whole = new Uint8Array(4 + bytes.length);
  new DataView(whole.buffer).setUint32(0, bytes.length);
  whole.set(bytes, 4);
  return whole;
}

function sameBytes(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, at) => byte === b[at]);
}
