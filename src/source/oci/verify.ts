import { FlowError, isTransient } from "../../core/errors.ts";
import type { RegistryClient } from "./client.ts";
import type { PublicKeys } from "./keys.ts";
import {
  type Descriptor,
  type Document,
  type IndexEntry,
  MEDIA,
  parseDocument,
  readIndex,
} from "./manifest.ts";
import { signedBundle, signedPayload } from "./signature.ts";

export interface VerifyOptions {
  readonly client: RegistryClient;
  /** What the tag stands for: of an index, the index. */
  readonly root: Document;
  readonly keys: PublicKeys;
  /** For messages: the reference. */
  readonly what: string;
  readonly signal?: AbortSignal;
}

const PAYLOAD = "application/vnd.dev.cosign.simplesigning.v1+json";
const SIGNATURE = "dev.cosignproject.cosign/signature";
const BUNDLE = "application/vnd.dev.sigstore.bundle";
/** How cosign calls signatures that it attaches as referrers without a bundle. */
const OLD_REFERRER = "application/vnd.dev.cosign.artifact.sig.v1+json";

/** Signatures that are looked at; anyone who may push can add more. */
const MOST_SIGNATURES = 100;
/** Bytes of one signature. */
const LARGEST_SIGNATURE = 1024 * 1024;

/**
 * Looks for a signature by cosign: under the tag `sha256-….sig`, and among the referrers of OCI 1.1, or
 * their fallback tag. Transparency logs and certificates are not asked; the key alone decides.
 *
 * @throws {FlowError} `source.unverified`, and what the client throws
 */
export async function verifySignature(options: VerifyOptions): Promise<void> {
  let seen = 0;
  for await (const descriptor of signatures(options)) {
    if (++seen > MOST_SIGNATURES) break;
    if (await fits(descriptor, options)) return;
  }
  const { what, root } = options;
  throw new FlowError(
    "source.unverified",
    seen === 0
      ? `Cannot trust ${what}: there is no signature of ${root.digest}`
      : `Cannot trust ${what}: no signature of ${root.digest} is by verify.cosign_key`,
    { hint: `sign it: cosign sign --key cosign.key ${what.replace(/[:@][^/]*$/, "")}@<digest>` },
  );
}

async function* signatures(options: VerifyOptions): AsyncGenerator<Descriptor> {
  const { client, root, signal } = options;
  const tag = root.digest.replace(":", "-");
  yield* layersOf(await client.findDocument(`${tag}.sig`, signal), options);
  // Fallback tags may leave the type out.
  const documents = (await referrers(tag, options))
    .filter(({ artifactType }) => artifactType === undefined || isSignature(artifactType));
  for (const { digest } of documents.slice(0, MOST_SIGNATURES)) {
    yield* layersOf(await client.findDocument(digest, signal), options);
  }
}

function isSignature(artifactType: string): boolean {
  return artifactType.startsWith(BUNDLE) || artifactType === OLD_REFERRER ||
    artifactType === PAYLOAD || artifactType === MEDIA.empty;
}

function* layersOf(document: Document | null, { what }: VerifyOptions): Generator<Descriptor> {
  if (!document) return;
  const parsed = parseDocument(document, `a signature of ${what}`);
  if (parsed.kind !== "manifest") return;
  for (const descriptor of parsed.layers) {
    const { mediaType, size } = descriptor;
    const known = mediaType === PAYLOAD || mediaType.startsWith(BUNDLE);
    if (known && size <= LARGEST_SIGNATURE) yield descriptor;
  }
}

/** Documents that name the root as their subject. */
async function referrers(
  tag: string,
  { client, root, what, signal }: VerifyOptions,
): Promise<readonly IndexEntry[]> {
  const pages = await client.findPages(`referrers/${root.digest}`, MEDIA.index, signal);
  if (pages) return pages.flatMap((page) => readIndex(page, `the referrers of ${what}`).manifests);
  const fallback = await client.findDocument(tag, signal);
  const parsed = fallback && parseDocument(fallback, `the referrers of ${what}`);
  return parsed?.kind === "index" ? parsed.manifests : [];
}

async function fits(
  descriptor: Descriptor,
  { client, root, keys, signal }: VerifyOptions,
): Promise<boolean> {
  const bytes = new Uint8Array(descriptor.size);
  try {
    let at = 0;
    for await (const part of client.blob(descriptor, signal)) {
      bytes.set(part, at);
      at += part.length;
    }
  } catch (cause) {
    if (isTransient(cause) || !(cause instanceof FlowError)) throw cause;
    return false; // a damaged one beside a good one decides nothing
  }
  if (descriptor.mediaType !== PAYLOAD) return signedBundle(bytes, root, keys);
  return signedPayload(bytes, descriptor.annotations[SIGNATURE] ?? "", root, keys);
}
