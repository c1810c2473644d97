import { FlowError } from "../../core/errors.ts";
import { nearest, quoteList } from "../../flow/similar.ts";
import { corrupt, type GitObject, type IdFormat, parseTree, type TreeEntry } from "./objects.ts";

export interface ListedFile {
  /** Below the chosen folder; a chosen file has its own name. */
  readonly path: string;
  /** From the root of the repository. */
  readonly file: string;
  readonly id: string;
}

/** What a commit holds below one path. */
export interface Listing {
  readonly files: readonly ListedFile[];
  /** From the root of the repository, as are submodules. */
  readonly links: readonly string[];
  readonly submodules: readonly string[];
  /** All folders of the commit, by id. */
  readonly trees: ReadonlySet<string>;
  /** Folders of the commit and files below the path that are not among the objects. */
  readonly missing: ReadonlySet<string>;
}

export interface ListOptions {
  readonly format: IdFormat;
  /** Folder or file from the root of the repository, `""` for all; see `readPath`. */
  readonly path: string;
  readonly maxFiles: number;
}

/** Longest path, bytes; what is longer is made to be a nuisance. */
const LONGEST_PATH = 4_096;

/**
 * Lists a commit's files without reading them.
 *
 * @throws {FlowError} `source.path_missing`, `source.path_unsafe`, `source.too_large`,
 * `source.corrupt`
 */
export function listTree(
  objects: ReadonlyMap<string, GitObject>,
  root: string,
  options: ListOptions,
): Listing {
  const lister = new Lister(objects, options);
  lister.collectTrees(root);
  if (lister.missing.size === 0) lister.enter(root, options.path.split("/").filter(Boolean));
  return lister;
}

/**
 * A path inside a repository without slashes at its ends.
 *
 * @throws {FlowError} `source.path_invalid`
 */
export function readPath(path: string): string {
  const parts = path.split("/").filter((part) => part !== "" && part !== ".");
  const reason = parts.map((part) => whyUnsafe(part)).find(Boolean);
  if (!path.startsWith("/") && !reason) return parts.join("/");
  const message = `Cannot use "${path}" as a path in a Git repository`;
  throw new FlowError("source.path_invalid", message, {
    hint: "write a folder or file below its root, such as deploy/flows",
  });
}

class Lister implements Listing {
  readonly files: ListedFile[] = [];
  readonly links: string[] = [];
  readonly submodules: string[] = [];
  readonly trees = new Set<string>();
  readonly missing = new Set<string>();
  readonly #parsed = new Map<string, TreeEntry[]>();
  #seen = 0;

  constructor(readonly objects: ReadonlyMap<string, GitObject>, readonly options: ListOptions) {}

  /** Each folder once, however often it occurs. */
  collectTrees(root: string): void {
    const open = [root];
    for (let id; (id = open.pop()) !== undefined;) {
      if (this.trees.has(id)) continue;
      this.trees.add(id);
      const object = this.objects.get(id);
      if (!object) this.missing.add(id);
      else for (const entry of this.#entries(id)) if (entry.kind === "tree") open.push(entry.id);
    }
  }

  /** Goes down to the chosen folder or file. */
  enter(tree: string, parts: readonly string[]): void {
    const [name, ...rest] = parts;
    if (name === undefined) return this.#walk(tree);
    const entries = this.#entries(tree);
    const found = entries.find((entry) => lossy(entry.name) === name);
    if (found?.kind === "tree") return this.enter(found.id, rest);
    const { path } = this.options;
    if (found && rest.length === 0) return this.#place(found, name, path);
    const before = path.split("/").slice(0, -parts.length);
    const names = entries.map((entry) => lossy(entry.name));
    const near = nearest(name, names);
    throw new FlowError("source.path_missing", `Cannot find the path "${path}" in the repository`, {
      hint: near === undefined
        ? names.length === 0 ? "the folder is empty" : `there are ${quoteList(names, 5)}`
        : `did you mean "${[...before, near, ...rest].join("/")}"?`,
    });
  }

  #walk(root: string): void {
    const above = this.options.path === "" ? "" : `${this.options.path}/`;
    const open = [{ id: root, prefix: "" }];
    for (let next; (next = open.pop());) {
      for (const entry of this.#entries(next.id)) {
        const path = next.prefix + nameOf(entry.name, next.prefix);
        if (path.length > LONGEST_PATH) throw unsafe(`${path.slice(0, 80)}...`, "it is too long");
        // Empty folders inside of each other can be as many as anyone likes.
        this.#count();
        if (entry.kind === "tree") open.push({ id: entry.id, prefix: `${path}/` });
        else this.#place(entry, path, above + path);
      }
    }
  }

  #place({ kind, id }: TreeEntry, path: string, file: string): void {
    if (kind === "link") this.links.push(file);
    else if (kind === "submodule") this.submodules.push(file);
    else {
      this.files.push({ path, file, id });
      if (!this.objects.has(id)) this.missing.add(id);
      if (this.files.length > this.options.maxFiles) throw this.#tooMany();
    }
  }

  #count(): void {
    if (++this.#seen > 4 * this.options.maxFiles + 10_000) throw this.#tooMany();
  }

  #tooMany(): FlowError {
    const message = `Cannot read the commit: it has more than ${this.options.maxFiles} files`;
    return new FlowError("source.too_large", message, {
      hint: "raise max_files, or set path to the folder that is needed",
    });
  }

  #entries(id: string): TreeEntry[] {
    const known = this.#parsed.get(id);
    if (known) return known;
    const { type, data } = this.objects.get(id)!;
    if (type !== "tree") throw corrupt("what should be a folder is none");
    const entries = parseTree(data, this.options.format);
    this.#parsed.set(id, entries);
    return entries;
  }
}

const strict = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
const lenient = new TextDecoder();

function lossy(name: Uint8Array): string {
  return lenient.decode(name);
}

/** @throws {FlowError} `source.path_unsafe` */
function nameOf(bytes: Uint8Array, prefix: string): string {
  let name: string;
  try {
    name = strict.decode(bytes);
  } catch {
    throw unsafe(prefix + lossy(bytes), "it is not UTF-8");
  }
  const reason = whyUnsafe(name);
  if (reason !== undefined) throw unsafe(prefix + name, reason);
  return name;
}

/** Git itself writes no such names; who made them wants to leave the folder on someone's disk. */
function whyUnsafe(name: string): string | undefined {
  if (name === "" || name === "." || name === "..") return `it has the part "${name}"`;
  if (name.includes("/")) return "a name in it holds a slash";
  if (name.includes("\\")) return "it holds a backslash";
  // deno-lint-ignore no-control-regex
  if (/[\x00-\x1f\x7f]/.test(name)) return "it holds a control character";
  // Also the names that some file systems take for the same.
  if (
    /^\.git$|^git~1$/i.test(name.replace(/[\u200c-\u200f\u202a-\u202e\u206a-\u206f\ufeff]/g, ""))
  ) {
    return `it has the part "${name}"`;
  }
}

function unsafe(path: string, reason: string): FlowError {
  // deno-lint-ignore no-control-regex
  const shown = path.replace(/[\x00-\x1f\x7f]/g, (letter) => JSON.stringify(letter).slice(1, -1));
  return new FlowError("source.path_unsafe", `Cannot accept the path "${shown}": ${reason}`, {
    hint: "rename it in the repository",
  });
}
