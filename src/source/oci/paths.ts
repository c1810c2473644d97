import { FlowError } from "../../core/errors.ts";

// deno-lint-ignore no-control-regex
const CONTROL = /[\x00-\x1f\x7f-\x9f]/;

/** What is longer or deeper is made to be a nuisance: every folder of a path takes memory. */
const LONGEST_PATH = 4_096;
const MOST_PARTS = 64;
const SHOWN = 200;

/**
 * A path from an archive or a title as a snapshot's path: relative, `/` between parts, without `.`.
 *
 * @param where For the message: `layer sha256:…`.
 * @returns `""` for the root itself.
 * @throws {FlowError} `source.path_unsafe`
 */
export function safePath(path: string, where: string): string {
  const why = CONTROL.test(path)
    ? "it holds a control character"
    : path.includes("\\")
    ? "it holds a backslash"
    : path.startsWith("/")
    ? "it is absolute"
    : path.split("/").includes("..")
    ? "it leaves its folder"
    : path.length > LONGEST_PATH
    ? "it is too long"
    : path.split("/").length > MOST_PARTS
    ? `it has more than ${MOST_PARTS} parts`
    : null;
  if (why === null) return path.split("/").filter((part) => part !== "" && part !== ".").join("/");
  const shown = JSON.stringify(path.length > SHOWN ? `${path.slice(0, SHOWN)}…` : path);
  throw new FlowError(
    "source.path_unsafe",
    `Cannot use the path ${shown} in ${where}: ${why}`,
    { hint: "pack the files with paths relative to their root" },
  );
}
