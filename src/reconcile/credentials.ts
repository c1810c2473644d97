import { isAbsolute, join, normalize, sep } from "node:path";
import { FlowError } from "../core/errors.ts";
import type { Flow } from "../flow/flow.ts";

/**
 * Which credentials files flows may name: those from files any path, those from outside only what lies
 * below `flows.credentials_root`, wherever links lead.
 *
 * @param root `flows.credentials_root`; without it flows from outside have no credentials.
 */
export function credentialsFor(
  root: string | undefined,
): (path: string, flow: Pick<Flow, "outside" | "identity">) => string {
  return (path, { outside, identity }) => outside ? pathBelow(root, path, identity) : path;
}

/** @throws {FlowError} `flow.credentials_not_allowed` */
function pathBelow(root: string | undefined, path: string, flow: string): string {
  const refuse = (hint: string) =>
    new FlowError(
      "flow.credentials_not_allowed",
      `The flow "${flow}" may not read the credentials file "${path}"`,
      { hint },
    );
  if (root === undefined) {
    throw refuse("set flows.credentials_root in config.yaml; only flows from files need none");
  }
  const whole = normalize(isAbsolute(path) ? path : join(root, path));
  const below = "name a file below flows.credentials_root";
  if (!isBelow(normalize(root), whole)) throw refuse(below);
  // Mounted secrets are links inside the folder; one that leads out of it would open everything.
  const [realRoot, realFile] = [realPath(root), realPath(whole)];
  if (realRoot && realFile && !isBelow(realRoot, realFile)) throw refuse(below);
  return whole;
}

function isBelow(root: string, path: string): boolean {
  return path.startsWith(root.endsWith(sep) ? root : `${root}${sep}`);
}

/** `undefined` for what is not there, which is told by who reads it. */
function realPath(path: string): string | undefined {
  try {
    return Deno.realPathSync(path);
  } catch {
    return undefined;
  }
}
