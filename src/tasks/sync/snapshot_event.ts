/** A snapshot as the data of one event: what `emit: snapshot` gives and `workspace_publish` takes. */
import * as v from "valibot";
import { FlowError } from "../../core/errors.ts";
import type { Data, Json, JsonObject } from "../../flow/event.ts";
import { isMap } from "../../flow/kind.ts";
import { snapshotFile } from "../../flow/snapshot_file.ts";
import type { Snapshot, SnapshotFile, SnapshotProblem } from "../../flow/source.ts";

const File = v.object({
  path: v.string(),
  /** Text; what is no UTF-8 stands in `base64`. */
  content: v.optional(v.string()),
  base64: v.optional(v.string()),
});

const Problem = v.object({
  identity: v.optional(v.string()),
  code: v.string(),
  message: v.string(),
  hint: v.optional(v.string()),
});

const SnapshotData = v.object({
  version: v.pipe(v.string(), v.nonEmpty()),
  files: v.array(File),
  problems: v.optional(v.array(Problem), []),
});

/** Text where the file is UTF-8, else its bytes. */
export function contentOf(file: SnapshotFile): string | Uint8Array {
  try {
    return file.text();
  } catch (cause) {
    if (cause instanceof FlowError && cause.code === "source.not_text") return file.bytes();
    throw cause;
  }
}

/**
 * `{ version, files: [{ path, content } | { path, base64 }], problems }`.
 *
 * @param about What else is said of the snapshot.
 */
export function snapshotData(snapshot: Snapshot, about: JsonObject): JsonObject {
  const { version, files, problems } = snapshot;
  return {
    version,
    ...about,
    files: [...files.values()].map((file): JsonObject => {
      const content = contentOf(file);
      return typeof content === "string"
        ? { path: file.path, content }
        : { path: file.path, base64: content.toBase64() };
    }),
    problems: problems.map(({ identity, error: { code, message, hint } }): Json => ({
      ...(identity !== undefined && { identity }),
      code,
      message,
      ...(hint !== undefined && { hint }),
    })),
  };
}

/** @throws {FlowError} `event.snapshot_invalid` */
export function readSnapshot(data: Data): Snapshot {
  if (!isMap(data)) throw invalid("it is not the data of a snapshot");
  const parsed = v.safeParse(SnapshotData, data);
  if (!parsed.success) throw invalid(`"${v.getDotPath(parsed.issues[0])}" is not as expected`);
  const { version, files, problems } = parsed.output;
  const byPath = new Map<string, SnapshotFile>();
  for (const { path, content, base64 } of files) {
    if (byPath.has(path)) throw invalid(`it has two files "${path}"`);
    byPath.set(path, snapshotFile(path, path, bytesOf(path, content, base64)));
  }
  return { version, files: byPath, problems: problems.map(problemOf) };
}

function bytesOf(
  path: string,
  content: string | undefined,
  base64: string | undefined,
): Uint8Array {
  if ((content === undefined) === (base64 === undefined)) {
    throw invalid(`the file "${path}" has not one of content and base64`);
  }
  if (content !== undefined) return new TextEncoder().encode(content);
  try {
    return Uint8Array.fromBase64(base64!);
  } catch {
    throw invalid(`the file "${path}" has no base64 in base64`);
  }
}

function problemOf(
  { identity, code, message, hint }: v.InferOutput<typeof Problem>,
): SnapshotProblem {
  const error = new FlowError(code, message, { hint });
  return identity === undefined ? { error } : { identity, error };
}

function invalid(reason: string): FlowError {
  return new FlowError("event.snapshot_invalid", `Cannot publish this event: ${reason}`, {
    hint: "put it behind git_sync or oci_sync with emit: snapshot",
  });
}
