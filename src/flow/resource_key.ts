import { FlowError } from "../core/errors.ts";

/**
 * Keys of resources are relative, have `/` between parts, and stay below their root.
 *
 * @throws {FlowError} `resource.key_invalid`
 */
export function checkResourceKey(key: string): void {
  const reason = pathProblem(key);
  if (reason !== undefined) throw invalidKey(key, reason);
}

/** Why a path could not be used below some root; `undefined` when it can. */
export function pathProblem(path: string): string | undefined {
  if (path === "") return "it is empty";
  if (path.includes("\0")) return "it holds a NUL character";
  if (path.includes("\\")) return 'parts are separated by "/"';
  if (path.startsWith("/") || /^[A-Za-z]:/.test(path)) return "it must be relative";
  const parts = path.split("/");
  if (parts.includes("..")) return 'it must not hold ".."';
  if (parts.includes(".") || parts.includes("")) return "it has an empty part";
  return undefined;
}

export function invalidKey(key: string, reason: string): FlowError {
  const shown = key.replaceAll("\0", "\\0");
  return new FlowError(
    "resource.key_invalid",
    `Cannot use the resource key "${shown}": ${reason}`,
    {
      hint: "write a path below the resource folder, such as queries/orders.sql",
    },
  );
}
