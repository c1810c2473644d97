import { basename, dirname, join } from "node:path";

/** One flow file as the folder shows it. */
export interface Found {
  /** Below the root, with `/` between parts. */
  readonly path: string;
  /** To open. */
  readonly file: string;
  readonly stat: Deno.FileInfo;
}

/** What `flows.path` means: where to look, and which files below it count. */
export interface Target {
  readonly root: string;
  readonly kind: "folder" | "file" | "pattern";
  matches(path: string): boolean;
}

const EXTENSIONS = /\.(?:ya?ml|json)$/;

/**
 * A folder (searched to any depth), one file, or a pattern with `*`. The root of a pattern is what
 * stands before the first part that holds a `*`.
 */
export async function targetOf(path: string): Promise<Target> {
  if (path.includes("*")) {
    const parts = path.split("/");
    const star = parts.findIndex((part) => part.includes("*"));
    const root = parts.slice(0, star).join("/");
    const pattern = patternOf(parts.slice(star));
    return {
      root: root === "" ? (path.startsWith("/") ? "/" : ".") : root,
      kind: "pattern",
      matches: (file) => pattern.test(file),
    };
  }
  const stat = await Deno.stat(path).catch(() => undefined);
  // A path that is not there yet is a file when it is called like one.
  if (stat ? stat.isFile : EXTENSIONS.test(path)) {
    const name = basename(path);
    return { root: dirname(path), kind: "file", matches: (file) => file === name };
  }
  return { root: path, kind: "folder", matches: (file) => EXTENSIONS.test(file) };
}

/** `**` is any number of folders, `*` anything inside one name; nothing else is special. */
function patternOf(parts: readonly string[]): RegExp {
  const source = parts.map((part, index) => {
    const last = index === parts.length - 1;
    if (part === "**") return last ? ".*" : "(?:[^/]+/)*";
    const name = part.split("*").map((text) => text.replace(/[.+?^${}()|[\]\\]/g, "\\$&"));
    return name.join("[^/]*") + (last ? "" : "/");
  });
  return new RegExp(`^${source.join("")}$`);
}

/**
 * The files of a target, sorted by path. Names that start with `.` are left out, which also removes
 * the `..data` folders of Kubernetes; links are followed, and one that leads to a file that is found
 * anyway is left out too.
 *
 * @throws {Deno.errors.NotFound} when the root is missing
 */
export async function discover(target: Target): Promise<Found[]> {
  const plain: Found[] = [];
  const linked: Found[] = [];
  await walk(target, "", new Set(), plain, linked);
  const seen = new Set(plain.map(({ stat }) => inodeOf(stat)));
  for (const found of linked.sort(byPath)) {
    const inode = inodeOf(found.stat);
    if (seen.has(inode)) continue;
    seen.add(inode);
    plain.push(found);
  }
  return plain.sort(byPath);
}

async function walk(
  target: Target,
  below: string,
  above: ReadonlySet<string>,
  plain: Found[],
  linked: Found[],
): Promise<void> {
  const folder = join(target.root, below);
  // A link to a folder above would lead around in circles.
  const inode = inodeOf(await Deno.stat(folder));
  if (above.has(inode)) return;
  const work: Promise<void>[] = [];
  for await (const entry of Deno.readDir(folder)) {
    if (entry.name.startsWith(".")) continue;
    const path = below === "" ? entry.name : `${below}/${entry.name}`;
    const look = async () => {
      const file = join(target.root, path);
      // A link may dangle, and a file may go away while we look.
      const stat = await Deno.stat(file).catch(() => undefined);
      if (stat?.isDirectory && target.kind !== "file") {
        await walk(target, path, new Set([...above, inode]), plain, linked).catch(ignoreGone);
      } else if (stat?.isFile && target.matches(path)) {
        (entry.isSymlink ? linked : plain).push({ path, file, stat });
      }
    };
    if (entry.isFile && !target.matches(path)) continue;
    work.push(look());
  }
  await Promise.all(work);
}

function ignoreGone(cause: unknown): void {
  if (!(cause instanceof Deno.errors.NotFound)) throw cause;
}

export function inodeOf(stat: Deno.FileInfo): string {
  return `${stat.dev}:${stat.ino}`;
}

function byPath(a: Found, b: Found): number {
  return a.path < b.path ? -1 : a.path > b.path ? 1 : 0;
}
