/** Fields that `git_sync` and `oci_sync` share. */
import * as v from "valibot";
import { ByteSize, Count } from "../../flow/schema.ts";

export const Filled = v.pipe(v.string(), v.nonEmpty());

export const syncFields = {
  force_pull: v.optional(
    v.pipe(v.boolean(), v.description("Emits the files also when they did not change.")),
    false,
  ),
  emit: v.optional(
    v.pipe(
      v.picklist(["files", "snapshot"]),
      v.description(
        "`files`: one event per file. `snapshot`: one event with all of them, as " +
          "`workspace_publish` wants it.",
      ),
    ),
    "files",
  ),
  max_file_size: v.optional(
    v.pipe(ByteSize, v.description("Longest file, 10 MiB when left out.")),
    10 * 1024 * 1024,
  ),
  max_total_size: v.optional(
    v.pipe(ByteSize, v.description("All files together, 100 MiB when left out.")),
    100 * 1024 * 1024,
  ),
  max_files: v.optional(
    v.pipe(Count, v.description("Files at most, 20,000 when left out.")),
    20_000,
  ),
};

/** What of the shared fields bounds a read. */
export function limitsOf(
  { max_file_size, max_total_size, max_files }: Record<
    "max_file_size" | "max_total_size" | "max_files",
    number
  >,
) {
  return { max_file_size, max_total_size, max_files };
}

/** A check that a map has one of its keys, and one only. */
export function isOneOf<T extends object>(message: string) {
  return v.check<T, string>(
    (value) => Object.values(value).filter((one) => one !== undefined).length === 1,
    message,
  );
}
