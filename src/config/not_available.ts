/** What Flowgen's configuration has and this version does not: known, so that it is not unknown. */
import { FlowError } from "../core/errors.ts";
import type { Places } from "../flow/document.ts";
import { isMap } from "../flow/kind.ts";

/** Sections that are fine as long as they say `enabled: false`. */
const SECTIONS: readonly (readonly string[])[] = [
  ["mcp_server"],
  ["ai_gateway"],
  ["web"],
];

/** Sections that count as left out when they say `enabled: false`, whatever else they say. */
const SWITCHED: readonly (readonly string[])[] = [
  ["cache"],
  ["flows", "cache"],
  ["resources", "cache"],
];

/** Values of fields that otherwise work, with what to write instead. */
const VALUES: readonly { path: readonly string[]; values: readonly string[]; hint: string }[] = [
  { path: ["http_server", "auth", "type"], values: ["oidc", "session"], hint: "use jwt" },
  { path: ["scripts", "engine"], values: ["rhai"], hint: "use js, or ts" },
  { path: ["telemetry", "backend", "type"], values: ["remote"], hint: "leave the backend out" },
];

/** Names that only this table knows, for did-you-mean of environment variables. */
export const UNAVAILABLE_SECTIONS = SECTIONS.filter((path) => path.length === 1).flat();

/**
 * Takes out of the tree what is switched off, and what is not available, with one finding for each.
 * Empty sections (`health:` without keys) count as left out, as they do in Flowgen.
 */
export function withoutUnavailable(
  tree: unknown,
  places?: Places,
): { tree: unknown; findings: FlowError[] } {
  if (!isMap(tree)) return { tree, findings: [] };
  const findings: FlowError[] = [];
  let rest: unknown = withoutEmpty(tree);
  for (const path of SWITCHED) if (isOff(get(rest, path))) rest = without(rest, path);
  for (const path of SECTIONS) {
    const section = get(rest, path);
    if (section === undefined) continue;
    rest = without(rest, path);
    if (isOff(section)) continue;
    findings.push(
      new FlowError(
        "config.not_available",
        `The section "${path.join(".")}" is not available in this version`,
        { hint: "remove it", position: places?.keyPosition(path) },
      ),
    );
  }
  for (const { path, values, hint } of VALUES) {
    const value = get(rest, path);
    if (typeof value !== "string" || !values.includes(value)) continue;
    // An authentication that is not there must not leave keys behind that seem wrong then.
    rest = without(rest, path.slice(0, path.length > 2 ? -1 : undefined));
    findings.push(
      new FlowError(
        "config.not_available",
        `"${value}" for "${path.join(".")}" is not available in this version`,
        { hint, position: places?.locate(path) },
      ),
    );
  }
  return { tree: rest, findings };
}

function withoutEmpty(tree: Record<string, unknown>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(tree).filter(([, value]) => value !== null));
}

/** A variable that stands for it is text. */
function isOff(section: unknown): boolean {
  return isMap(section) && (section.enabled === false || section.enabled === "false");
}

function get(tree: unknown, path: readonly string[]): unknown {
  let value = tree;
  for (const key of path) value = isMap(value) ? value[key] : undefined;
  return value;
}

function without(tree: unknown, path: readonly string[]): unknown {
  const [key, ...more] = path;
  if (!isMap(tree) || key === undefined || !(key in tree)) return tree;
  if (more.length > 0) return { ...tree, [key]: without(tree[key], more) };
  const { [key]: _gone, ...rest } = tree;
  return rest;
}
