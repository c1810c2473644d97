import * as v from "valibot";
import { FlowError } from "../../core/errors.ts";
import { isDigest } from "./reference.ts";

export const MEDIA = {
  manifest: "application/vnd.oci.image.manifest.v1+json",
  index: "application/vnd.oci.image.index.v1+json",
  dockerManifest: "application/vnd.docker.distribution.manifest.v2+json",
  dockerIndex: "application/vnd.docker.distribution.manifest.list.v2+json",
  empty: "application/vnd.oci.empty.v1+json",
} as const;

/** What manifests are asked for as. */
export const ACCEPT = [MEDIA.manifest, MEDIA.index, MEDIA.dockerManifest, MEDIA.dockerIndex]
  .join(", ");

export const TITLE = "org.opencontainers.image.title";

/** Bytes of a manifest; registries refuse larger ones too. */
export const LARGEST_MANIFEST = 4 * 1024 * 1024;

const Annotations = v.optional(v.record(v.string(), v.string()), {});

const Descriptor = v.object({
  mediaType: v.string(),
  digest: v.pipe(v.string(), v.check(isDigest, "a digest")),
  size: v.pipe(v.number(), v.safeInteger(), v.minValue(0)),
  annotations: Annotations,
  artifactType: v.optional(v.string()),
});
/** Content by its digest and size. */
export type Descriptor = v.InferOutput<typeof Descriptor>;

const Platform = v.object({
  os: v.string(),
  architecture: v.string(),
  variant: v.optional(v.string()),
});

const IndexEntry = v.object({ ...Descriptor.entries, platform: v.optional(Platform) });
export type IndexEntry = v.InferOutput<typeof IndexEntry>;

const Manifest = v.object({
  schemaVersion: v.literal(2),
  artifactType: v.optional(v.string()),
  config: v.object({ mediaType: v.string() }),
  layers: v.array(Descriptor),
  annotations: Annotations,
});
export type Manifest = v.InferOutput<typeof Manifest>;

const Index = v.object({ schemaVersion: v.literal(2), manifests: v.array(IndexEntry) });
export type Index = v.InferOutput<typeof Index>;

/** A manifest or index as the registry gave it. */
export interface Document {
  readonly digest: string;
  readonly bytes: Uint8Array<ArrayBuffer>;
  /** Of the answer's header; the document's own goes first. */
  readonly mediaType: string;
}

export type Parsed =
  | ({ readonly kind: "manifest" } & Manifest)
  | ({ readonly kind: "index" } & Index);

/**
 * @param what For messages: the reference.
 * @throws {FlowError} `source.corrupt`, `source.not_supported`
 */
export function parseDocument({ bytes, mediaType }: Document, what: string): Parsed {
  let content: unknown;
  try {
    content = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
  } catch (cause) {
    throw new FlowError("source.corrupt", `Cannot read the manifest of ${what} as JSON`, { cause });
  }
  const own = v.safeParse(v.object({ mediaType: v.string() }), content);
  const type = own.success ? own.output.mediaType : mediaType.split(";")[0]!.trim();
  // OCI documents need not name their type; then only their shape tells them apart.
  if (type === MEDIA.index || type === MEDIA.dockerIndex) {
    return { kind: "index", ...check(Index, content, what) };
  }
  if (type === MEDIA.manifest || type === MEDIA.dockerManifest) {
    return { kind: "manifest", ...check(Manifest, content, what) };
  }
  throw new FlowError("source.not_supported", `Cannot read ${what}: its manifest is "${type}"`, {
    hint: "push it again as an OCI artifact, for instance with flowgen push or oras push",
  });
}

/** An index that came without a digest of its own. @throws {FlowError} `source.corrupt` */
export function readIndex(content: unknown, what: string): Index {
  return check(Index, content, what);
}

function check<T extends v.GenericSchema>(
  schema: T,
  content: unknown,
  what: string,
): v.InferOutput<T> {
  const parsed = v.safeParse(schema, content);
  if (parsed.success) return parsed.output;
  const path = v.getDotPath(parsed.issues[0]) ?? "";
  throw new FlowError(
    "source.corrupt",
    `Cannot read the manifest of ${what}: "${path}" is not as the OCI specification wants it`,
  );
}
