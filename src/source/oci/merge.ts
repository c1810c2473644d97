import type { LayerContent, LayerSpec } from "./layer.ts";

/** A file and the layer it came with. */
export interface MergedFile {
  readonly path: string;
  readonly content: Uint8Array<ArrayBuffer>;
  /** The layer's digest. */
  readonly layer: string;
}

/**
 * The files of all layers, in the order of paths. Untitled layers lie on each other as in an image, with
 * whiteouts; titled ones add their files on top of that, a later one winning over an earlier.
 */
export function mergeLayers(
  layers: readonly { readonly spec: LayerSpec; readonly content: LayerContent }[],
): Map<string, MergedFile> {
  const merged = new Map<string, MergedFile>();
  for (const { spec, content } of layers) {
    if (spec.title === null) stack(merged, content, spec.descriptor.digest);
  }
  for (const { spec, content } of layers) {
    if (spec.title !== null) add(merged, content, spec.descriptor.digest);
  }
  return new Map([...merged].sort(([a], [b]) => a < b ? -1 : a > b ? 1 : 0));
}

/** Whiteouts concern the layers below only, wherever they stand in theirs. */
function stack(merged: Map<string, MergedFile>, content: LayerContent, layer: string): void {
  const { files, removed, emptied } = content;
  const gone = new Set(removed);
  const bare = new Set(emptied);
  if (gone.size > 0 || bare.size > 0) {
    for (const path of merged.keys()) {
      if (
        gone.has(path) || bare.has("") || foldersOf(path).some((f) => gone.has(f) || bare.has(f))
      ) {
        merged.delete(path);
      }
    }
  }
  replaceFolders(merged, files);
  add(merged, content, layer);
}

/** A file in place of a folder takes what was in it away, and a folder in place of a file the file. */
function replaceFolders(
  merged: Map<string, MergedFile>,
  files: ReadonlyMap<string, unknown>,
): void {
  for (const path of files.keys()) for (const folder of foldersOf(path)) merged.delete(folder);
  for (const path of merged.keys()) {
    if (foldersOf(path).some((folder) => files.has(folder))) merged.delete(path);
  }
}

function add(merged: Map<string, MergedFile>, { files }: LayerContent, layer: string): void {
  for (const [path, content] of files) merged.set(path, { path, content, layer });
}

/** `a/b/c` has `a` and `a/b`. */
function foldersOf(path: string): string[] {
  const folders: string[] = [];
  for (let at = path.indexOf("/"); at >= 0; at = path.indexOf("/", at + 1)) {
    folders.push(path.slice(0, at));
  }
  return folders;
}
