/**
 * Where native tools write what they read. A disk may take longer than all the rest, so they are
 * measured on one, as people use them, and in memory, where only their own work counts.
 */
export type Place = "disk" | "memory";

/** A file system in memory, which Linux has. */
const MEMORY = "/dev/shm";

/**
 * Measures in an empty folder, which is gone afterwards.
 *
 * @returns NaN where the system has no such place.
 */
export async function inScratch(
  place: Place,
  measure: (folder: string) => Promise<number>,
): Promise<number> {
  const dir = place === "memory" ? MEMORY : undefined;
  if (dir !== undefined && !await exists(dir)) return NaN;
  const folder = await Deno.makeTempDir({ dir, prefix: "flowgen-bench-" });
  try {
    return await measure(folder);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

async function exists(path: string): Promise<boolean> {
  try {
    return (await Deno.stat(path)).isDirectory;
  } catch (cause) {
    if (cause instanceof Deno.errors.NotFound) return false;
    throw cause; // Deno itself lets only programs with all permissions look there
  }
}
