import type { Clock } from "../../core/clock.ts";
import { FlowError } from "../../core/errors.ts";
import type { Answer } from "./answer.ts";
import { RegistryClient } from "./client.ts";
import { fileLogins, type Logins } from "./login.ts";
import { MEDIA } from "./manifest.ts";
import { type Artifact, artifactOf, type Blob, type Packed } from "./pack.ts";
import { LATEST, parseReference, type Reference, referenceTo } from "./reference.ts";
import type { Fetch } from "./transport.ts";

export interface PushOptions {
  readonly logins?: Logins;
  readonly clock: Clock;
  /** For tests. */
  readonly fetch?: Fetch;
  readonly signal?: AbortSignal;
}

export interface PushPacked {
  /** Where to: `host/repository[:tag]`. */
  readonly reference: string;
  /** Speaks to the registry without TLS; to one on this machine in any case. */
  readonly plainHttp?: boolean;
  /** Of the manifest, such as `org.opencontainers.image.created`. */
  readonly annotations: Readonly<Record<string, string>>;
  /** A credentials file; see `fileLogins`. */
  readonly credentials?: string;
  readonly clock: Clock;
}

export interface Pushed {
  /** With the tag. */
  readonly reference: string;
  readonly digest: string;
}

/** Makes an artifact of what was packed and pushes it. @throws {FlowError} as `pushArtifact` */
export async function pushPacked(
  packed: Packed,
  { reference: text, plainHttp, annotations, credentials, clock }: PushPacked,
): Promise<Pushed> {
  const given = parseReference(text, plainHttp);
  const reference = referenceTo({ ...given, tag: given.tag ?? LATEST });
  const artifact = artifactOf(packed, annotations);
  const logins = credentials === undefined ? undefined : fileLogins(credentials);
  await pushArtifact(reference, artifact, { logins, clock });
  return { reference: reference.text, digest: artifact.digest };
}

/**
 * Uploads what the registry does not have, then the manifest, which makes the tag stand for it.
 *
 * @throws {FlowError} `source.unavailable`, `source.auth_failed`, `source.credentials_invalid`,
 * `source.reference_invalid`, `source.push_refused`
 */
export async function pushArtifact(
  reference: Reference,
  artifact: Artifact,
  { logins, clock, fetch = (url, init) => globalThis.fetch(url, init), signal }: PushOptions,
): Promise<void> {
  const { tag = LATEST, digest, text } = reference;
  if (digest !== undefined) {
    throw new FlowError("source.reference_invalid", `Cannot push to the digest in ${text}`, {
      hint: "write a tag; the digest comes out of what is pushed",
    });
  }
  const client = new RegistryClient({ reference, action: "pull,push", logins, clock, fetch });
  for (const blob of artifact.blobs) await pushBlob(client, blob, reference, signal);
  const answer = await client.ask({
    method: "PUT",
    path: `manifests/${tag}`,
    headers: { "content-type": MEDIA.manifest },
    body: artifact.manifest,
    signal,
  });
  await answer.cancel();
  if (answer.status !== 201) throw refused(answer, reference, "the manifest");
}

async function pushBlob(
  client: RegistryClient,
  { descriptor: { digest }, bytes }: Blob,
  reference: Reference,
  signal?: AbortSignal,
): Promise<void> {
  const there = await client.ask({ method: "HEAD", path: `blobs/${digest}`, signal });
  await there.cancel();
  if (there.status === 200) return;
  const begun = await client.ask({ method: "POST", path: "blobs/uploads/", signal });
  await begun.cancel();
  const location = begun.headers.get("location");
  const url = location === null ? null : URL.parse(location, client.url("blobs/uploads/"));
  if (begun.status !== 202 || !url) throw refused(begun, reference, "a new blob");
  url.searchParams.set("digest", digest);
  const headers = { "content-type": "application/octet-stream" };
  const done = await client.ask({ method: "PUT", path: url, headers, body: bytes, signal });
  await done.cancel();
  if (done.status !== 201) throw refused(done, reference, `the blob ${digest}`);
}

function refused({ status }: Answer, { name, registry }: Reference, what: string): FlowError {
  return new FlowError(
    "source.push_refused",
    `Cannot push to ${name}: ${registry} answered ${status} to ${what}`,
    {
      hint: "check that the repository exists or may be created, and that the tag may be changed",
    },
  );
}
