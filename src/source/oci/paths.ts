import { FlowError } from "../../core/errors.ts";

// deno-lint-ignore no-control-regex
const CONTROL = /[\x00-\x1f\x7f-\x9f]/;

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
    : null;
  if (why === null) return path.split("/").filter((part) => part !== "" && part !== ".").join("/");
  throw new FlowError(
    "source.path_unsafe",
    `Cannot use the path ${JSON.stringify(path)} in ${where}: ${why}`,
    { hint: "pack the files with paths relative to their root" },
  );
}
