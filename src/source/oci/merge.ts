import { FileTree } from "./file_tree.ts";
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
  const image = new FileTree<MergedFile>();
  for (const { spec, content } of layers) {
    if (spec.title === null) stack(image, content, spec.descriptor.digest);
  }
  const merged = new Map([...image.files()].map((file) => [file.path, file]));
  for (const { spec, content } of layers) {
    if (spec.title === null) continue;
    for (const file of filesOf(content, spec.descriptor.digest)) merged.set(file.path, file);
  }
  return new Map([...merged].sort(([a], [b]) => a < b ? -1 : a > b ? 1 : 0));
}

/**
 * Whiteouts concern the layers below only, wherever they stand in theirs. So does what a file in place
 * of a folder takes away, and a folder in place of a file.
 */
function stack(image: FileTree<MergedFile>, content: LayerContent, layer: string): void {
  for (const path of content.removed) image.remove(path);
  for (const folder of content.emptied) image.empty(folder);
  for (const path of content.files.keys()) image.clear(path);
  for (const file of filesOf(content, layer)) image.set(file.path, file);
}

function* filesOf({ files }: LayerContent, layer: string): Generator<MergedFile> {
  for (const [path, content] of files) yield { path, content, layer };
}
