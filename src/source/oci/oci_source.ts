import type { Clock } from "../../core/clock.ts";
import { FlowError } from "../../core/errors.ts";
import type { Log } from "../../core/log.ts";
import type { Snapshot, SnapshotFile, SnapshotProblem, Source } from "../../flow/source.ts";
import { Budget, type Limits } from "./budget.ts";
import { RegistryClient } from "./client.ts";
import { type LayerContent, type LayerSpec, layerSpec, readLayer } from "./layer.ts";
import type { Logins } from "./login.ts";
import { type Descriptor, type Document, parseDocument } from "./manifest.ts";
import { type MergedFile, mergeLayers } from "./merge.ts";
import { chooseManifest, ownPlatform } from "./platform.ts";
import { LATEST, parseReference, type Reference } from "./reference.ts";
import type { Fetch } from "./transport.ts";
import { parseKeys, type PublicKeys } from "./keys.ts";

export interface OciSourceOptions {
  /** `host[:port]/repository[:tag][@digest]`; a digest goes before a tag. */
  readonly artifact: string;
  /** A version range over the tags, in place of a tag. */
  readonly semver?: string;
  /** `os/architecture[/variant]` to take from an index; that of this machine when left out. */
  readonly platform?: string;
  /** Speaks to the registry without TLS; to one on this machine in any case. */
  readonly plain_http?: boolean;
  /** See `fileLogins`; anonymous when left out. */
  readonly logins?: Logins;
  readonly limits: Limits;
  /** Only what was signed with one of these keys is read; PEM, one or several. */
  readonly verify?: { readonly cosign_key: string };
  readonly clock: Clock;
  readonly log: Log;
  /** For tests. */
  readonly fetch?: Fetch;
}

export interface OciFile extends SnapshotFile {
  /** Digest of the layer it came with. */
  readonly digest: string;
}

export interface OciSnapshot extends Snapshot {
  readonly files: ReadonlyMap<string, OciFile>;
  /** Digest of the manifest whose layers these are, which for an index is not the `version`. */
  readonly digest: string;
  /** The tag that was chosen, if any. */
  readonly tag?: string;
}

type Layers = ReadonlyMap<string, LayerContent>;

/** Layers downloaded at the same time. */
const AT_ONCE = 4;
const MOST_LAYERS = 10_000;
/** Paths that a problem names. */
const SHOWN = 5;

/**
 * Files of an artifact or image in an OCI registry. The version is the digest that the tag stands for,
 * and for an index `digest+platform`. Layers that the last snapshot had are not downloaded again, nor
 * those of a read that failed half-way.
 *
 * @throws {FlowError} `source.reference_invalid`, `source.verify_invalid`
 */
export function ociSource(options: OciSourceOptions): OciSource {
  return new OciSource(options);
}

export class OciSource implements Source {
  readonly #options: OciSourceOptions;
  readonly #reference: Reference;
  readonly #client: RegistryClient;
  readonly #platform: string;
  readonly #keys: PublicKeys | null;
  /** Layers of the last snapshot. */
  #last: Layers = new Map();
  /** What a read had finished when it failed. */
  #begun: Layers = new Map();
  /** The digest that was found signed; whether a stored version's was, nobody knows. */
  #verified: string | undefined;

  constructor(options: OciSourceOptions) {
    const { artifact, plain_http, semver, platform, verify, clock, logins } = options;
    this.#options = options;
    this.#reference = parseReference(artifact, plain_http);
    const { tag, digest } = this.#reference;
    if (semver !== undefined && (tag ?? digest) !== undefined) {
      throw new FlowError(
        "source.reference_invalid",
        `Cannot look for versions "${semver}" of ${this.#reference.text}`,
        { hint: "leave the tag or digest out of artifact, or leave semver out" },
      );
    }
    this.#platform = platform ?? ownPlatform();
    this.#keys = verify ? parseKeys(verify.cosign_key) : null;
    const fetch = options.fetch ?? ((url, init) => globalThis.fetch(url, init));
    this.#client = new RegistryClient({ reference: this.#reference, logins, clock, fetch });
  }

  /**
   * One request, a HEAD, when the tag stands for what `previous` was; a signature is looked for once
   * all the same, since `previous` may be older than the wish for it.
   */
  async read(previous: string | null, signal?: AbortSignal): Promise<OciSnapshot | null> {
    const { digest: pinned } = this.#reference;
    const tag = pinned === undefined ? await this.#tag(signal) : undefined;
    let digest = pinned ?? null;
    if (previous !== null) {
      digest ??= await this.#client.head(tag!, signal);
      if (digest !== null && this.#sameAs(digest, previous) && this.#trusts(digest)) return null;
    }
    const root = await this.#client.document(digest ?? tag!, signal);
    if (!this.#trusts(root.digest)) await this.#verify(root, tag, signal);
    return this.#sameAs(root.digest, previous) ? null : await this.#snapshot(root, tag, signal);
  }

  #trusts(digest: string): boolean {
    return this.#keys === null || this.#verified === digest;
  }

  async #verify(root: Document, tag: string | undefined, signal?: AbortSignal): Promise<void> {
    const { verifySignature } = await import("./verify.ts");
    const what = this.#at(root.digest, tag);
    await verifySignature({ client: this.#client, root, keys: this.#keys!, what, signal });
    this.#verified = root.digest;
  }

  async #tag(signal?: AbortSignal): Promise<string> {
    const { semver } = this.#options;
    if (semver === undefined) return this.#reference.tag ?? LATEST;
    const { chooseTag } = await import("./tags.ts");
    return chooseTag(await this.#client.tags(signal), semver, this.#reference);
  }

  /** Whether a version is of this digest; one digest cannot be both a manifest's and an index's. */
  #sameAs(digest: string, version: string | null): boolean {
    return version === digest || version === `${digest}+${this.#platform}`;
  }

  async #snapshot(root: Document, tag: string | undefined, signal?: AbortSignal) {
    const what = this.#at(root.digest, tag);
    const outer = parseDocument(root, what);
    const [document, parsed] = outer.kind === "manifest"
      ? [root, outer]
      : await this.#chosen(chooseManifest(outer, this.#platform, what), what, signal);
    const layers = await this.#layers(parsed.layers, what, signal);
    const files = new Map([...mergeLayers(layers)].map(([path, file]) => [path, fileOf(file)]));
    const snapshot: OciSnapshot = {
      version: outer.kind === "index" ? `${root.digest}+${this.#platform}` : root.digest,
      digest: document.digest,
      ...(tag !== undefined && { tag }),
      files,
      problems: problemsOf(layers),
    };
    this.#options.log.debug("Read an artifact", { artifact: what, files: files.size });
    return snapshot;
  }

  async #chosen({ digest }: Descriptor, what: string, signal?: AbortSignal) {
    const document = await this.#client.document(digest, signal);
    const parsed = parseDocument(document, what);
    if (parsed.kind === "manifest") return [document, parsed] as const;
    throw new FlowError("source.not_supported", `Cannot choose from the index ${what}`, {
      hint: "it holds another index; name that one, or a manifest, by its digest",
    });
  }

  async #layers(descriptors: readonly Descriptor[], what: string, signal?: AbortSignal) {
    if (descriptors.length > MOST_LAYERS) {
      throw new FlowError(
        "source.too_large",
        `Cannot use ${what}: it has ${descriptors.length} layers, and ${MOST_LAYERS} are the most`,
      );
    }
    const specs = descriptors.map(layerSpec);
    const budget = new Budget(this.#options.limits, what);
    const contents = new Map<string, LayerContent>();
    const missing = new Map<string, LayerSpec>();
    for (const spec of specs) {
      const key = keyOf(spec);
      const known = this.#last.get(key) ?? this.#begun.get(key);
      if (!known) missing.set(key, spec);
      else if (!contents.has(key)) {
        contents.set(key, known);
        for (const [path, { length }] of known.files) budget.file(path, length);
      }
    }
    // Should one fail, the others need not come again.
    this.#begun = contents;
    await inParallel([...missing], signal, async ([key, spec], signal) => {
      const fetch = () => this.#client.blob(spec.descriptor, signal);
      contents.set(key, await readLayer(spec, budget, fetch));
    });
    this.#last = contents;
    this.#begun = new Map();
    return specs.map((spec) => ({ spec, content: contents.get(keyOf(spec))! }));
  }

  #at(digest: string, tag: string | undefined): string {
    const { name } = this.#reference;
    return tag === undefined ? `${name}@${digest}` : `${name}:${tag}`;
  }
}

/** The same bytes are read differently under another title or type. */
function keyOf({ descriptor: { digest, mediaType }, title, fallback }: LayerSpec): string {
  return JSON.stringify([digest, mediaType, title ?? "", title === null ? fallback : ""]);
}

/** The first failure stops the others, and is thrown when all have stopped. */
async function inParallel<T>(
  items: readonly T[],
  signal: AbortSignal | undefined,
  run: (item: T, signal: AbortSignal) => Promise<void>,
): Promise<void> {
  const stop = new AbortController();
  const both = signal ? AbortSignal.any([signal, stop.signal]) : stop.signal;
  const queue = items.values();
  let failure: { cause: unknown } | null = null;
  const work = async () => {
    for (const item of queue) {
      try {
        await run(item, both);
      } catch (cause) {
        failure ??= { cause };
        stop.abort(cause);
        return;
      }
    }
  };
  await Promise.all(Array.from({ length: Math.min(AT_ONCE, items.length) }, work));
  if (failure) throw (failure as { cause: unknown }).cause;
}

function problemsOf(
  layers: readonly { readonly content: LayerContent }[],
): readonly SnapshotProblem[] {
  const skipped = [...new Set(layers.flatMap(({ content }) => content.skipped))].sort();
  if (skipped.length === 0) return [];
  const names = skipped.slice(0, SHOWN).join(", ");
  const more = skipped.length > SHOWN ? ` and ${skipped.length - SHOWN} more` : "";
  return [{
    error: new FlowError(
      "source.entry_skipped",
      `Not read, for they are no files: ${names}${more}`,
      {
        hint: "put the files themselves where links, devices or the like are",
      },
    ),
  }];
}

function fileOf({ path, content, layer }: MergedFile): OciFile {
  return {
    path,
    file: path,
    digest: layer,
    bytes: () => content,
    text() {
      try {
        return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(content);
      } catch {
        throw new FlowError("source.not_text", `Cannot read ${path} as text`, {
          hint: "save it as UTF-8",
          position: { file: path, line: 1, column: 1 },
        });
      }
    },
  };
}
