import assert from "node:assert/strict";
import type { LayerContent } from "./layer.ts";
import { mergeLayers } from "./merge.ts";

const EMPTY: LayerContent = { files: new Map(), removed: [], emptied: [], skipped: [] };

/** Untitled layers of files, each of which holds the number of its layer. */
function pathsOf(...layers: (Partial<LayerContent> & { paths?: readonly string[] })[]) {
  const merged = mergeLayers(layers.map(({ paths = [], ...more }, index) => {
    const what = `layer ${index}`;
    const descriptor = { mediaType: "", digest: `${index}`, size: 0, annotations: {} };
    const files = new Map(paths.map((path) => [path, Uint8Array.of(index)]));
    const spec = { descriptor, title: null, fallback: what, what };
    return { spec, content: { ...EMPTY, files, ...more } };
  }));
  return [...merged.values()].map(({ path, content }) => `${path}=${content[0]}`);
}

Deno.test("a file takes away the folder of its name, and a folder the file", () => {
  assert.deepEqual(pathsOf({ paths: ["a/b", "a/c/d", "ab"] }, { paths: ["a"] }), ["a=1", "ab=0"]);
  assert.deepEqual(pathsOf({ paths: ["a", "b"] }, { paths: ["a/b/c"] }), ["a/b/c=1", "b=0"]);
  // What one layer says is not held against itself.
  assert.deepEqual(pathsOf({ paths: ["a", "a/b"] }), ["a=0", "a/b=0"]);
});

Deno.test("whiteouts take away a file or a folder, or all that is in one", () => {
  const below = { paths: ["a", "b/c", "b/d/e", "f/g"] };
  assert.deepEqual(pathsOf(below, { removed: ["a", "b/d", "missing/x"] }), ["b/c=0", "f/g=0"]);
  assert.deepEqual(pathsOf(below, { emptied: ["b", "missing"] }), ["a=0", "f/g=0"]);
  assert.deepEqual(pathsOf(below, { emptied: [""], paths: ["b/new"] }), ["b/new=1"]);
  assert.deepEqual(pathsOf(below, { removed: ["b"] }, { paths: ["b/c"] }), [
    "a=0",
    "b/c=2",
    "f/g=0",
  ]);
});

Deno.test("a layer costs what it holds, not what lies below it", () => {
  const below = Array.from({ length: 20_000 }, (_, index) => `below/${index}`);
  const above = Array.from({ length: 9_000 }, (_, index) => ({ paths: [`above/${index}`] }));
  // Looking at all files below for each layer, this would take minutes.
  assert.equal(pathsOf({ paths: below }, ...above, { removed: ["below"] }).length, 9_000);
});
