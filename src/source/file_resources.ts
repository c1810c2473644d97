import { join } from "node:path";
import { FlowError } from "../core/errors.ts";
import type { ResourceFile, Resources } from "../flow/resource.ts";
import { checkResourceKey, invalidKey } from "../flow/resource_key.ts";
import { nearest } from "../flow/similar.ts";

/** Files below one folder. */
export class FileResources implements Resources {
  readonly #root: string | undefined;

  /** @param root `undefined` where none is configured; then every read says so. */
  constructor(root: string | undefined) {
    this.#root = root;
  }

  /**
   * @throws {FlowError} `resource.not_configured`, `resource.key_invalid`, `resource.missing`,
   * `resource.unreadable`
   */
  async read(key: string): Promise<ResourceFile> {
    const root = this.#root;
    if (root === undefined) {
      throw new FlowError("resource.not_configured", `Cannot read the resource "${key}"`, {
        hint: "set resources.path in config.yaml to the folder it is in",
      });
    }
    checkResourceKey(key);
    const file = join(root, key);
    try {
      // A link may point anywhere inside the root (Kubernetes mounts do), but not out of it.
      const [realRoot, realFile] = await Promise.all([Deno.realPath(root), Deno.realPath(file)]);
      if (!realFile.startsWith(realRoot.endsWith("/") ? realRoot : `${realRoot}/`)) {
        throw invalidKey(key, "it is a link that leads out of the resource folder");
      }
      return { file, bytes: await Deno.readFile(realFile) };
    } catch (cause) {
      if (cause instanceof FlowError) throw cause;
      if (cause instanceof Deno.errors.NotFound || cause instanceof Deno.errors.NotADirectory) {
        throw new FlowError("resource.missing", `Cannot find the resource "${key}" in ${root}`, {
          hint: await hintFor(root, key),
          cause,
        });
      }
      throw new FlowError("resource.unreadable", `Cannot read the resource "${key}" in ${root}`, {
        cause,
      });
    }
  }
}

/** Looks in one place after another; the last one says what is wrong when none has it. */
export function layered(places: readonly Resources[]): Resources {
  return {
    async read(key) {
      for (const place of places.slice(0, -1)) {
        try {
          return await place.read(key);
        } catch (cause) {
          if (!(cause instanceof FlowError && cause.code === "resource.missing")) throw cause;
        }
      }
      return await places.at(-1)!.read(key);
    },
  };
}

/** Names that are looked at for a suggestion; a folder may hold any number. */
const MOST_NAMES = 1_000;

async function hintFor(root: string, key: string): Promise<string> {
  const parts = key.split("/");
  const folder = parts.slice(0, -1).join("/");
  const names = await namesIn(join(root, folder));
  if (names === undefined) return `there is no folder "${folder === "" ? root : folder}"`;
  const prefix = folder === "" ? "" : `${folder}/`;
  const near = nearest(parts.at(-1)!, names);
  if (near !== undefined) return `did you mean "${prefix}${near}"?`;
  if (names.length === 0) return "the folder is empty";
  const shown = names.slice(0, 5).map((name) => `"${prefix}${name}"`).join(", ");
  return names.length > 5 ? `there are ${shown} and more` : `there is ${shown}`;
}

async function namesIn(folder: string): Promise<string[] | undefined> {
  const names: string[] = [];
  try {
    for await (const entry of Deno.readDir(folder)) {
      if (entry.name.startsWith(".")) continue;
      names.push(entry.name);
      if (names.length === MOST_NAMES) break;
    }
  } catch {
    return undefined; // The hint is a courtesy; what failed is told by the error it belongs to.
  }
  return names.sort();
}
