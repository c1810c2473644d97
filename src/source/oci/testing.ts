/** A registry in memory, behind a `fetch`; for the tests of this folder. */
import { TestClock } from "../../core/clock.ts";
import { silentLog } from "../../core/log.ts";
import { digestOf } from "./digest.ts";
import { MEDIA, TITLE } from "./manifest.ts";
import { type OciSource, ociSource, type OciSourceOptions } from "./oci_source.ts";
import type { Fetch } from "./transport.ts";

export interface TestLayer {
  readonly bytes: Uint8Array;
  /** That of an artifact's raw file when left out. */
  readonly mediaType?: string;
  readonly title?: string;
  /** What the manifest says, when that shall not fit. */
  readonly digest?: string;
  readonly size?: number;
}

export interface Asked {
  readonly method: string;
  readonly url: URL;
  readonly headers: Headers;
  readonly body?: BodyInit | null;
  readonly signal?: AbortSignal | null;
}

/** What a test does in place of the registry; nothing to let it answer. */
export type Interception = (
  asked: Asked,
) => Response | null | undefined | Promise<Response | null | undefined>;

export const HOST = "registry.example:5000";
export const REPOSITORY = "acme/flows";
export const ARTIFACT = `${HOST}/${REPOSITORY}`;
export const LIMITS = { maxFileSize: 1_000_000, maxTotalSize: 5_000_000, maxFiles: 1_000 };
export const TAR = "application/vnd.oci.image.layer.v1.tar";

export class TestRegistry {
  readonly clock = new TestClock();
  readonly blobs = new Map<string, Uint8Array>();
  readonly manifests = new Map<string, { bytes: Uint8Array; mediaType: string }>();
  readonly tags = new Map<string, string>();
  /** `GET /v2/acme/flows/…` without the common part: `GET manifests/v1`. */
  readonly log: string[] = [];
  readonly asked: Asked[] = [];
  readonly referrers = new Map<string, unknown>();
  intercept: Interception = () => null;

  /** A source of this registry's repository, at `:v1` when nothing else is said. */
  source(options: Partial<OciSourceOptions> = {}): OciSource {
    return ociSource({
      artifact: `${ARTIFACT}:v1`,
      platform: "linux/amd64",
      limits: LIMITS,
      clock: this.clock,
      log: silentLog,
      fetch: this.fetch,
      ...options,
    });
  }

  readonly fetch: Fetch = async (input, init) => {
    const url = new URL(input);
    const asked = {
      method: init.method!,
      url,
      headers: new Headers(init.headers),
      body: init.body,
      signal: init.signal,
    };
    this.asked.push(asked);
    this.log.push(`${asked.method} ${url.pathname.replace(`/v2/${REPOSITORY}/`, "")}`);
    init.signal?.throwIfAborted();
    const stopped = new Promise<never>((_, reject) => {
      init.signal?.addEventListener("abort", () => reject(init.signal!.reason), { once: true });
    });
    const answered = (async () => await this.intercept(asked) ?? this.#answer(asked))();
    return await Promise.race([answered, stopped]);
  };

  blob(bytes: Uint8Array): string {
    const digest = digestOf(bytes);
    this.blobs.set(digest, bytes);
    return digest;
  }

  /** Puts a document under its digest, and a tag on it. */
  document(content: unknown, mediaType: string, tag?: string): string {
    const bytes = content instanceof Uint8Array
      ? content
      : new TextEncoder().encode(JSON.stringify(content));
    const digest = digestOf(bytes);
    this.manifests.set(digest, { bytes, mediaType });
    if (tag !== undefined) this.tags.set(tag, digest);
    return digest;
  }

  /** @returns the manifest's digest. */
  artifact(tag: string | undefined, layers: readonly TestLayer[], more: object = {}): string {
    return this.document(
      {
        schemaVersion: 2,
        mediaType: MEDIA.manifest,
        config: { mediaType: MEDIA.empty, digest: this.blob(bytesOf("{}")), size: 2 },
        layers: layers.map(({ bytes, mediaType, title, digest, size }) => ({
          mediaType: mediaType ?? "application/octet-stream",
          digest: digest ?? this.blob(bytes),
          size: size ?? bytes.length,
          ...(title !== undefined && { annotations: { [TITLE]: title } }),
        })),
        ...more,
      },
      MEDIA.manifest,
      tag,
    );
  }

  /** @returns the index's digest. */
  index(tag: string, entries: readonly { digest: string; platform?: string }[]): string {
    const manifests = entries.map(({ digest, platform }) => {
      const [os, architecture, variant] = platform?.split("/") ?? [];
      return {
        mediaType: MEDIA.manifest,
        digest,
        size: this.manifests.get(digest)?.bytes.length ?? 1,
        ...(platform && { platform: { os, architecture, variant } }),
      };
    });
    return this.document(
      { schemaVersion: 2, mediaType: MEDIA.index, manifests },
      MEDIA.index,
      tag,
    );
  }

  #answer({ method, url }: Asked): Response {
    const [, kind, name] = /^\/v2\/acme\/flows\/(\w+)\/(.*)$/.exec(url.pathname) ?? [];
    if (kind === "manifests") {
      const digest = this.tags.get(name!) ?? name!;
      const found = this.manifests.get(digest);
      if (!found) return missing("MANIFEST_UNKNOWN");
      return answer(method, found.bytes, {
        "content-type": found.mediaType,
        "docker-content-digest": digest,
      });
    }
    if (kind === "blobs") {
      const bytes = this.blobs.get(name!);
      return bytes ? answer(method, bytes) : missing("BLOB_UNKNOWN");
    }
    if (kind === "tags") return Response.json({ name: REPOSITORY, tags: [...this.tags.keys()] });
    if (kind === "referrers" && this.referrers.has(name!)) {
      return Response.json(this.referrers.get(name!));
    }
    return missing("NAME_UNKNOWN");
  }
}

export function bytesOf(text: string): Uint8Array<ArrayBuffer> {
  return new TextEncoder().encode(text);
}

/** The texts of a snapshot, by path. */
export function textsOf(snapshot: Awaited<ReturnType<OciSource["read"]>>): Record<string, string> {
  return Object.fromEntries([...snapshot!.files].map(([path, file]) => [path, file.text()]));
}

/** A body that breaks after some bytes. */
export function broken(bytes: Uint8Array, headers: HeadersInit = {}, status = 200): Response {
  let sent = false;
  const body = new ReadableStream({
    pull(controller) {
      if (sent) controller.error(new TypeError("connection reset"));
      else controller.enqueue(bytes);
      sent = true;
    },
  });
  return new Response(body, { status, headers });
}

function answer(method: string, bytes: Uint8Array, headers: Record<string, string> = {}): Response {
  return new Response(method === "HEAD" ? null : bytes as Uint8Array<ArrayBuffer>, {
    headers: { ...headers, "content-length": `${bytes.length}` },
  });
}

function missing(code: string): Response {
  return Response.json({ errors: [{ code }] }, { status: 404 });
}
