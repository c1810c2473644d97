/** Git's four kinds of objects. See https://git-scm.com/book/en/v2/Git-Internals-Git-Objects */
import { createHash } from "node:crypto";
import { FlowError } from "../../core/errors.ts";

export type ObjectType = "commit" | "tree" | "blob" | "tag";

export interface GitObject {
  readonly type: ObjectType;
  readonly data: Uint8Array;
}

/** How a repository names its objects: hex of a hash, 20 or 32 bytes. */
export interface IdFormat {
  readonly hash: "sha1" | "sha256";
  readonly bytes: number;
}

export const SHA1: IdFormat = { hash: "sha1", bytes: 20 };
export const SHA256: IdFormat = { hash: "sha256", bytes: 32 };

/**
 * @param name As servers announce it; old ones announce nothing.
 * @throws {FlowError} `source.not_supported`
 */
export function formatNamed(name: string | undefined, label: string): IdFormat {
  const format = [SHA1, SHA256].find(({ hash }) => hash === (name ?? "sha1"));
  if (format) return format;
  const message = `Cannot read from ${label}: its objects are named by "${name}"`;
  throw new FlowError("source.not_supported", message, {
    hint: "use a repository with sha1 or sha256",
  });
}

/** The id that the content itself gives, so what is found under an id is what the id names. */
export function idOf({ type, data }: GitObject, { hash }: IdFormat): string {
  return createHash(hash).update(`${type} ${data.length}\0`).update(data).digest("hex");
}

export type EntryKind = "tree" | "file" | "link" | "submodule";

export interface TreeEntry {
  readonly kind: EntryKind;
  /** As bytes: Git does not say which encoding names have. */
  readonly name: Uint8Array;
  readonly id: string;
}

const KINDS: Readonly<Record<string, EntryKind>> = {
  "40000": "tree",
  "040000": "tree", // written by old tools
  "100644": "file",
  "100755": "file",
  "100664": "file",
  "120000": "link",
  "160000": "submodule",
};

const SPACE = 0x20;

/** @throws {FlowError} `source.corrupt` */
export function parseTree(data: Uint8Array, format: IdFormat): TreeEntry[] {
  const entries: TreeEntry[] = [];
  for (let at = 0; at < data.length;) {
    const space = data.indexOf(SPACE, at);
    const end = data.indexOf(0, space);
    const next = end + 1 + format.bytes;
    if (space < 0 || end < 0 || next > data.length) throw corrupt("a folder's list is cut off");
    const mode = String.fromCharCode(...data.subarray(at, Math.min(space, at + 8)));
    const kind = KINDS[mode];
    if (!kind) throw corrupt(`a folder has an entry of the unknown mode "${mode}"`);
    const id = data.subarray(end + 1, next).toHex();
    entries.push({ kind, name: data.subarray(space + 1, end), id });
    at = next;
  }
  return entries;
}

/** The first lines of a commit or tag, by name; continued lines are joined with line feeds. */
export function parseHeaders(data: Uint8Array): Map<string, string> {
  const text = new TextDecoder().decode(data);
  const end = text.indexOf("\n\n");
  const headers = new Map<string, string>();
  let last = "";
  for (const line of (end < 0 ? text : text.slice(0, end)).split("\n")) {
    if (line.startsWith(" ")) {
      headers.set(last, `${headers.get(last)}\n${line.slice(1)}`);
      continue;
    }
    const space = line.indexOf(" ");
    last = line.slice(0, space);
    if (!headers.has(last)) headers.set(last, line.slice(space + 1));
  }
  return headers;
}

/** @throws {FlowError} `source.corrupt` */
export function treeOfCommit(commit: GitObject): string {
  const tree = commit.type === "commit" ? parseHeaders(commit.data).get("tree") : undefined;
  if (!tree) throw corrupt("what should be a commit is none");
  return tree;
}

export function corrupt(reason: string, cause?: unknown): FlowError {
  return new FlowError("source.corrupt", `Cannot read the repository's objects: ${reason}`, {
    hint: "run git fsck on the server, or look for a proxy that changes answers",
    cause,
  });
}
