import { FlowError } from "../../core/errors.ts";
import { Gatherer } from "../gather.ts";
import type { Budget } from "./budget.ts";
import { type Descriptor, MEDIA, TITLE } from "./manifest.ts";
import { safePath } from "./paths.ts";
import { peek } from "./peek.ts";
import { type EntryKind, TarReader, type TarVisitor } from "./tar.ts";
import { BLOCK, isZero, readHeader } from "./tar_header.ts";
import { type Bytes, packingOf, unpacked } from "./unpack.ts";

/** What one layer holds, by safe paths. */
export interface LayerContent {
  readonly files: ReadonlyMap<string, Uint8Array<ArrayBuffer>>;
  /** Paths of lower layers that it takes away, with all below them. */
  readonly removed: readonly string[];
  /** Folders that it empties of what lower layers put there; `""` is the root. */
  readonly emptied: readonly string[];
  /** Links, devices and the like, which are not read. */
  readonly skipped: readonly string[];
}

/** A layer to read. */
export interface LayerSpec {
  readonly descriptor: Descriptor;
  /** `org.opencontainers.image.title`, as a safe path: a layer of an artifact, not of an image. */
  readonly title: string | null;
  /** What an untitled layer that is no archive is called. */
  readonly fallback: string;
  /** `layer sha256:…`, for messages. */
  readonly what: string;
}

const EMPTY: LayerContent = { files: new Map(), removed: [], emptied: [], skipped: [] };

const WHITEOUT = ".wh.";
const OPAQUE = ".wh..wh..opq";

/** @throws {FlowError} `source.path_unsafe` */
export function layerSpec(descriptor: Descriptor, index: number): LayerSpec {
  const what = `layer ${descriptor.digest}`;
  const given = descriptor.annotations[TITLE];
  const title = given === undefined ? null : safePath(given, what);
  if (title === "") {
    throw new FlowError("source.path_unsafe", `Cannot use the title "${given}" of ${what}`, {
      hint: "a title names a file",
    });
  }
  return { descriptor, title, fallback: `layer-${index}`, what };
}

/**
 * Unpacks a layer while it comes in. Its media type says what it is, but where that says `tar`, or
 * nobody else does, its first bytes decide: `oras push` calls every file a tar.
 *
 * @param fetch The layer's bytes; must throw `source.digest_mismatch` at their end.
 * @throws {FlowError} `source.too_large`, `source.corrupt`, `source.path_unsafe`,
 * `source.not_supported`, and what `fetch` throws
 */
export async function readLayer(
  spec: LayerSpec,
  budget: Budget,
  fetch: () => Bytes,
): Promise<LayerContent> {
  const { descriptor: { mediaType, size }, title } = spec;
  if (mediaType === MEDIA.empty) return EMPTY;
  const { tar, packed } = claimOf(mediaType, spec.what);
  if (title !== null && !tar && !packed) return await readFile(spec, size, budget, fetch());
  budget.packed(size);

  const source = fetch()[Symbol.asyncIterator]();
  // Whoever stops early must not end it: its last step is the check of the digest.
  const bytes: Bytes = { [Symbol.asyncIterator]: () => ({ next: () => source.next() }) };
  try {
    const { head, all } = await peek(bytes, 4);
    const packing = packingOf(head);
    // A packed file under the media type that oras gives to all of them.
    const asItIs = title !== null && !packed && !ARCHIVE_NAME.test(title);
    const content = packing && asItIs
      ? await readFile(spec, size, budget, all)
      : await readPlain(spec, tar, budget, packing ? unpacked(all, packing, spec.what) : all);
    await drain(source); // nothing counts before its digest is known, whatever was left unread
    return content;
  } catch (cause) {
    // Damage on the way is the better answer than what became of the content by it.
    if (cause instanceof FlowError && cause.code === "source.corrupt") await drain(source);
    throw cause;
  } finally {
    await source.return?.();
  }
}

async function drain(source: AsyncIterator<unknown>): Promise<void> {
  while (!(await source.next()).done);
}

const ARCHIVE_NAME = /\.(?:tar|tgz|tzst|tar\.(?:gz|zst|zstd))$/i;

/** What a media type says of the content; Docker's layers are `.diff.tar.gzip`. */
function claimOf(mediaType: string, what: string): { tar: boolean; packed: boolean } {
  const type = mediaType.split(";")[0]!.trim().toLowerCase();
  if (type.endsWith("+encrypted")) {
    throw new FlowError("source.not_supported", `Cannot read ${what}: it is encrypted`);
  }
  return {
    tar: /[./+-]tar(?:[.+](?:gzip|zstd))?$/.test(type),
    packed: /[.+](?:gzip|zstd)$/.test(type),
  };
}

/** Content that is packed no more: an archive, or one file. */
async function readPlain(
  spec: LayerSpec,
  tarClaimed: boolean,
  budget: Budget,
  bytes: Bytes,
): Promise<LayerContent> {
  const { head, all } = await peek(counting(bytes, budget), BLOCK);
  if (!isTar(head, tarClaimed, spec)) return await readFile(spec, null, budget, all);
  const content = new Unpacked(spec, budget);
  const tar = new TarReader(content, spec.what);
  for await (const chunk of all) tar.write(chunk);
  tar.end();
  return content;
}

/** An archive without entries begins with zeros, as much else does. */
function isTar(head: Uint8Array, claimed: boolean, { title }: LayerSpec): boolean {
  if (head.length < BLOCK || (!claimed && title !== null)) return false;
  return readHeader(head) !== null || (claimed && isZero(head));
}

async function* counting(bytes: Bytes, budget: Budget): AsyncGenerator<Uint8Array> {
  for await (const chunk of bytes) {
    budget.unpacked(chunk.length);
    yield chunk;
  }
}

/** @param size How long it will be; `null` when only its end tells. */
async function readFile(
  { title, fallback }: LayerSpec,
  size: number | null,
  budget: Budget,
  bytes: Bytes,
): Promise<LayerContent> {
  const path = title ?? fallback;
  if (size !== null) budget.file(path, size);
  const { maxFileSize } = budget.limits;
  const content = new Gatherer(size ?? 0);
  for await (const part of bytes) {
    const length = content.length + part.length;
    if (size === null && length > maxFileSize) budget.file(path, length);
    content.add(part);
  }
  if (size === null) budget.file(path, content.length);
  return { ...EMPTY, files: new Map([[path, content.whole()]]) };
}

/** Takes the entries of an archive: files within the budget, and whiteouts where images have them. */
class Unpacked implements LayerContent, TarVisitor {
  readonly files = new Map<string, Uint8Array<ArrayBuffer>>();
  readonly removed: string[] = [];
  readonly emptied: string[] = [];
  readonly skipped: string[] = [];

  constructor(readonly spec: LayerSpec, readonly budget: Budget) {}

  entry(name: string, kind: EntryKind, size: number): boolean {
    const path = safePath(name, this.spec.what);
    if (kind === "link" || kind === "other") this.skipped.push(path);
    if (kind !== "file" || path === "") return false;
    if (this.spec.title === null && this.#whiteout(path)) return false;
    this.budget.file(path, size);
    return true;
  }

  file(name: string, content: Uint8Array<ArrayBuffer>): void {
    this.files.set(safePath(name, this.spec.what), content);
  }

  #whiteout(path: string): boolean {
    const slash = path.lastIndexOf("/");
    const name = path.slice(slash + 1);
    if (!name.startsWith(WHITEOUT)) return false;
    if (name === OPAQUE) this.emptied.push(path.slice(0, Math.max(0, slash)));
    else this.removed.push(path.slice(0, slash + 1) + name.slice(WHITEOUT.length));
    return true;
  }
}
