import { FlowError } from "../core/errors.ts";
import type { Store } from "../flow/store.ts";
import { type Manifest, manifestKey, readManifest, writeManifest } from "./manifest.ts";

/** What to make of a manifest: `next` is written, `null` leaves it as it is. */
export interface Decision<T> {
  readonly next: Manifest | null;
  readonly result: T;
}

/** Someone who loses this often competes with something that never stops. */
const ATTEMPTS = 50;

/**
 * Changes a workspace in one compare-and-set. When someone was faster, `decide` looks at what they left.
 *
 * @param decide `known`: whether there is a manifest at all.
 * @throws {FlowError} `workspace.busy`, `workspace.name_invalid`, and what `decide` throws.
 */
export async function changeManifest<T>(
  store: Store,
  name: string,
  decide: (manifest: Manifest, known: boolean) => Promise<Decision<T>>,
): Promise<T> {
  const key = manifestKey(name);
  for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
    const entry = await store.get(key);
    const { next, result } = await decide(readManifest(entry), entry !== null);
    if (next === null) return result;
    const bytes = writeManifest(next);
    const revision = entry
      ? await store.update(key, bytes, entry.revision)
      : await store.create(key, bytes);
    if (revision !== null) return result;
  }
  throw new FlowError("workspace.busy", `Cannot change the workspace "${name}": others keep on`, {
    hint: "see who else publishes it",
  });
}
