import fs from "node:fs";
import { relative, sep } from "node:path";
import git from "isomorphic-git";

export interface Commit {
  readonly id: string;
  /** When it was committed, seconds since 1970. */
  readonly time: number;
}

/** What of a folder must be as committed. */
export interface Contents {
  /** Folders below it that count; others may differ. */
  readonly roots: readonly string[];
  /** All there is in them, names that start with `.` left out. */
  readonly files: readonly { readonly path: string; readonly content: Uint8Array }[];
}

/**
 * The commit that a folder's files are from.
 *
 * @returns `null` when there is none: outside of a repository, with changes, or in a repository that
 * cannot be read (a linked worktree, SHA-256).
 */
export async function commitOf(folder: string, contents: Contents): Promise<Commit | null> {
  try {
    const filepath = await Deno.realPath(folder);
    const dir = await git.findRoot({ fs, filepath });
    const id = await git.resolveRef({ fs, dir, ref: "HEAD" });
    const { commit } = await git.readCommit({ fs, dir, oid: id });
    const below = relative(dir, filepath).split(sep).filter((part) => part !== "").join("/");
    const committed = new Map<string, string>();
    const top = await treeAt(dir, id, below);
    for (const { path, oid } of top.filter(({ path }) => contents.roots.includes(path))) {
      await collect(dir, oid, path, committed);
    }
    if (committed.size !== contents.files.length) return null;
    for (const { path, content } of contents.files) {
      const { oid } = await git.hashBlob({ object: content });
      if (committed.get(path) !== oid) return null;
    }
    return { id, time: commit.committer.timestamp };
  } catch {
    return null;
  }
}

async function treeAt(dir: string, oid: string, filepath?: string) {
  return (await git.readTree({ fs, dir, oid, ...(filepath && { filepath }) })).tree;
}

async function collect(
  dir: string,
  tree: string,
  below: string,
  files: Map<string, string>,
): Promise<void> {
  for (const { path, oid, type } of await treeAt(dir, tree)) {
    if (path.startsWith(".")) continue;
    if (type === "tree") await collect(dir, oid, `${below}/${path}`, files);
    if (type === "blob") files.set(`${below}/${path}`, oid);
  }
}
