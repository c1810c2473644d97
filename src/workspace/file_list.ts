import * as v from "valibot";
import { sha256Hex } from "../core/digest.ts";
import { FlowError } from "../core/errors.ts";
import { decodeRecord, encodeRecord } from "../flow/record.ts";
import { pathProblem } from "../flow/resource_key.ts";
import type { Snapshot } from "../flow/source.ts";

const Files = v.object({
  /** Path and SHA-256 of the content, in the order of paths. */
  files: v.array(v.tuple([v.string(), v.string()])),
});

/** One file of a version. */
export interface ListedFile {
  readonly path: string;
  /** SHA-256 of its content, the name of its blob. */
  readonly digest: string;
}

/** The files of a snapshot as blobs: the list is one too, and its digest names the whole. */
export interface Packed {
  readonly digest: string;
  readonly list: Uint8Array;
  readonly files: readonly ListedFile[];
  /** Contents by digest, without the list. */
  readonly contents: ReadonlyMap<string, Uint8Array>;
}

/** Contents hashed together: hashing waits for another thread. */
const AT_ONCE = 32;

/**
 * Equal files give equal digests, whatever they were read from.
 *
 * @throws {FlowError} `workspace.path_invalid`
 */
export async function pack(snapshot: Snapshot): Promise<Packed> {
  const contents = new Map<string, Uint8Array>();
  const files: ListedFile[] = [];
  const paths = [...snapshot.files.keys()].sort();
  for (let at = 0; at < paths.length; at += AT_ONCE) {
    const some = paths.slice(at, at + AT_ONCE);
    const digests = await Promise.all(some.map(async (path) => {
      assertPath(path);
      const bytes = snapshot.files.get(path)!.bytes();
      const digest = await sha256Hex(bytes);
      contents.set(digest, bytes);
      return digest;
    }));
    some.forEach((path, index) => files.push({ path, digest: digests[index]! }));
  }
  const list = encodeRecord({ files: files.map(({ path, digest }) => [path, digest]) });
  return { digest: await sha256Hex(list), list, files, contents };
}

/** @throws {FlowError} `store.record_invalid`, `store.record_newer` */
export function unpackList(list: Uint8Array): ListedFile[] {
  return decodeRecord(list, Files).files.map(([path, digest]) => ({ path, digest }));
}

function assertPath(path: string): void {
  const reason = pathProblem(path);
  if (reason === undefined) return;
  const shown = path.replaceAll("\0", "\\0");
  throw new FlowError("workspace.path_invalid", `Cannot publish the file "${shown}": ${reason}`, {
    hint: "paths count from the root of the workspace, such as flows/orders.yaml",
  });
}
