import { FlowError } from "../core/errors.ts";
import type { EnvUse } from "../flow/env.ts";
import { isMap } from "../flow/kind.ts";
import { keysOf, waysAt } from "../flow/schema_walk.ts";
import { nearest, quoteList } from "../flow/similar.ts";
import { guardText } from "../template/template.ts";
import { UNAVAILABLE_SECTIONS } from "./not_available.ts";
import { ConfigSchema } from "./schema.ts";

const PREFIX = "FLOWGEN_";

export interface Overridden {
  readonly tree: unknown;
  readonly uses: readonly EnvUse[];
  readonly findings: readonly FlowError[];
}

/**
 * Lays variables such as `FLOWGEN_HTTP_SERVER__PORT=8080` over the file. Two underscores stand between
 * levels; the value is cast to what the field wants, lists are separated by commas. A variable of one
 * level that resembles no section (`FLOWGEN_HOME`) is somebody else's.
 */
export function withOverrides(
  tree: unknown,
  env: Readonly<Record<string, string>>,
): Overridden {
  const uses: EnvUse[] = [];
  const findings: FlowError[] = [];
  for (const name of Object.keys(env).sort()) {
    if (!name.startsWith(PREFIX)) continue;
    const path = name.slice(PREFIX.length).toLowerCase().split("__");
    const unknown = unknownPart(name, path);
    if (unknown === "not ours") continue;
    if (unknown) {
      findings.push(unknown);
      continue;
    }
    tree = withText(tree ?? {}, path, guardText(env[name]!));
    uses.push({ path, label: name, values: [env[name]!], whole: true, outside: true });
  }
  return { tree, uses, findings };
}

function unknownPart(name: string, path: readonly string[]): FlowError | "not ours" | undefined {
  const top = [...Object.keys(ConfigSchema.entries), ...UNAVAILABLE_SECTIONS];
  const first = path[0]!;
  if (UNAVAILABLE_SECTIONS.includes(first)) return undefined;
  if (path.length === 1 && !top.includes(first) && !nearest(first, top)) return "not ours";
  for (const [index, key] of path.entries()) {
    const known = index === 0 ? top : keysAt(path.slice(0, index));
    if (known === undefined || known.includes(key)) continue;
    const where = index === 0 ? "" : ` in "${path.slice(0, index).join(".")}"`;
    const near = nearest(key, known);
    const fixed = near && [...path.slice(0, index), near, ...path.slice(index + 1)];
    return new FlowError(
      "config.unknown_key",
      `Unknown key "${key}"${where} in the variable ${name}: expected one of ${quoteList(known)}`,
      { hint: fixed && `did you mean ${PREFIX}${fixed.join("__").toUpperCase()}?` },
    );
  }
  return undefined;
}

/** Keys below `path`; `undefined` where anything goes, for the schema to say what is wrong. */
function keysAt(path: readonly string[]): string[] | undefined {
  const ways = waysAt(ConfigSchema, {}, path);
  const keys = keysOf(ways);
  return keys.length === 0 ? undefined : keys;
}

function withText(tree: unknown, path: readonly string[], text: string): unknown {
  const [key, ...rest] = path;
  if (key === undefined) return text;
  if (Array.isArray(tree) && /^\d+$/.test(key)) {
    const list = [...tree];
    list[Number(key)] = withText(list[Number(key)], rest, text);
    return list;
  }
  const map = isMap(tree) ? tree : {};
  return { ...map, [key]: withText(map[key], rest, text) };
}
