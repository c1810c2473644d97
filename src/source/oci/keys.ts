import { createPublicKey, type KeyObject, verify } from "node:crypto";
import { FlowError } from "../../core/errors.ts";

/** Keys of which one must have signed. */
export interface PublicKeys {
  /** Whether `signature` is one of these keys' over `content`. */
  verify(content: Uint8Array, signature: Uint8Array): boolean;
}

const BLOCKS = /-----BEGIN [A-Z ]+-----[^-]+-----END [A-Z ]+-----/g;

/**
 * Public keys as cosign writes them: PEM of ECDSA, RSA or Ed25519 keys, one or several.
 *
 * @throws {FlowError} `source.verify_invalid`
 */
export function parseKeys(pem: string): PublicKeys {
  const blocks = pem.match(BLOCKS) ?? [];
  if (blocks.length === 0) throw invalid("it holds no public key");
  const keys = blocks.map((block) => {
    if (block.includes("PRIVATE")) throw invalid("it is a private key, which must not be here");
    let key: KeyObject;
    try {
      key = createPublicKey(block);
    } catch (cause) {
      throw invalid("it is not a public key in PEM", cause);
    }
    const hash = hashOf(key);
    if (hash === undefined) {
      throw invalid(`keys of the kind "${key.asymmetricKeyType}" are not known here`);
    }
    return { key, hash };
  });
  return {
    verify: (content, signature) =>
      keys.some(({ key, hash }) => {
        try {
          return verify(hash, content, key, signature);
        } catch {
          return false; // some platforms throw for a signature that is none
        }
      }),
  };
}

/** What cosign hashes with before it signs; `null` for keys that sign what they get. */
function hashOf({ asymmetricKeyType, asymmetricKeyDetails }: KeyObject): string | null | undefined {
  if (asymmetricKeyType === "ed25519") return null;
  if (asymmetricKeyType === "rsa") return "sha256";
  if (asymmetricKeyType !== "ec") return undefined;
  return asymmetricKeyDetails?.namedCurve === "prime256v1" ? "sha256" : undefined;
}

function invalid(why: string, cause?: unknown): FlowError {
  return new FlowError("source.verify_invalid", `Cannot use verify.cosign_key: ${why}`, {
    hint: "write the text of cosign.pub: an ECDSA P-256, RSA or Ed25519 key in PEM",
    cause,
  });
}
