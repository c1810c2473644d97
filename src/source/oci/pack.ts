// @ts-types="@types/pako"
import pako from "pako";
import { FlowError } from "../../core/errors.ts";
import { digestOf } from "./digest.ts";
import { type Descriptor, MEDIA, TITLE } from "./manifest.ts";
import { safePath } from "./paths.ts";
import { type PackedFile, writeTar } from "./tar_write.ts";

/** What our artifacts and their only layer are called. */
export const ARTIFACT = "application/vnd.flowgen.workspace.v1";
export const LAYER = "application/vnd.flowgen.workspace.v1.tar+gzip";

/** What is packed of a folder. */
const ROOTS = ["flows", "resources"];

/** Bytes by what a manifest says of them. */
export interface Blob {
  readonly descriptor: Descriptor;
  readonly bytes: Uint8Array<ArrayBuffer>;
}

export interface Packed {
  readonly layer: Blob;
  /** The folders that it is from. */
  readonly roots: readonly string[];
  /** All files in them, in the order of paths. */
  readonly files: readonly PackedFile[];
}

export interface Artifact {
  readonly manifest: Uint8Array<ArrayBuffer>;
  readonly digest: string;
  readonly blobs: readonly Blob[];
}

/**
 * Packs `flows/` and `resources/` of a folder; names that start with `.` are left out. Equal files give
 * equal bytes on every machine: the packer is JavaScript, since native ones differ by processor.
 *
 * @throws {FlowError} `source.missing`, `source.unreadable`, `source.path_unsafe`
 */
export async function packFolder(folder: string): Promise<Packed> {
  const files: PackedFile[] = [];
  for (const root of ROOTS) await collect(folder, root, files);
  if (files.length === 0) {
    throw new FlowError("source.missing", `There is nothing to push in ${folder}`, {
      hint: "put flow files into its folder flows, and what they refer to into resources",
    });
  }
  files.sort((a, b) => a.path < b.path ? -1 : 1);
  const bytes = pako.gzip(writeTar(files), { level: 9 }) as Uint8Array<ArrayBuffer>;
  const annotations = { [TITLE]: "workspace.tar.gz" };
  return { layer: blobOf(bytes, LAYER, annotations), roots: ROOTS, files };
}

/**
 * The manifest of what was packed.
 *
 * @param annotations Such as `org.opencontainers.image.created`.
 */
export function artifactOf(
  { layer }: Packed,
  annotations: Readonly<Record<string, string>>,
): Artifact {
  const config = blobOf(new TextEncoder().encode("{}"), MEDIA.empty);
  const manifest = new TextEncoder().encode(JSON.stringify({
    schemaVersion: 2,
    mediaType: MEDIA.manifest,
    artifactType: ARTIFACT,
    config: config.descriptor,
    layers: [layer.descriptor],
    annotations: Object.fromEntries(Object.entries(annotations).sort()),
  }));
  return { manifest, digest: digestOf(manifest), blobs: [config, layer] };
}

function blobOf(
  bytes: Uint8Array<ArrayBuffer>,
  mediaType: string,
  annotations?: Record<string, string>,
): Blob {
  const descriptor = { mediaType, digest: digestOf(bytes), size: bytes.length, annotations };
  return { descriptor: descriptor as Descriptor, bytes };
}

async function collect(folder: string, below: string, files: PackedFile[]): Promise<void> {
  try {
    for await (
      const { name, isFile, isDirectory, isSymlink } of Deno.readDir(`${folder}/${below}`)
    ) {
      if (name.startsWith(".")) continue;
      const path = safePath(`${below}/${name}`, folder);
      if (isSymlink) {
        throw new FlowError("source.path_unsafe", `Cannot pack ${path}, which is a link`, {
          hint: "put the file itself there",
        });
      }
      if (isDirectory) await collect(folder, path, files);
      if (isFile) files.push({ path, content: await Deno.readFile(`${folder}/${path}`) });
    }
  } catch (cause) {
    if (cause instanceof Deno.errors.NotFound && ROOTS.includes(below)) return;
    if (cause instanceof FlowError) throw cause;
    throw new FlowError("source.unreadable", `Cannot read ${folder}/${below}`, { cause });
  }
}
