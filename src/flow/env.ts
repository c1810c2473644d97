/**
 * `{{env.X}}` in config.yaml and flow files, filled in when a file is loaded. What a variable holds is
 * text and stays text: it is never read as YAML, and never as a template.
 */
import { FlowError } from "../core/errors.ts";
import { GUARD, guardText } from "../template/template.ts";
import type { Path, Places } from "./document.ts";

/** The variables that a file may see. */
export interface EnvLookup {
  get(name: string): string | undefined;
  /** Whether files of this origin may use the variable. */
  allows(name: string): boolean;
}

/** For flows from files, which see the whole environment. */
export function wholeEnv(get: (name: string) => string | undefined): EnvLookup {
  return { get, allows: () => true };
}

/** For flows from Git, OCI or the store: only what `flows.env` lists. */
export function listedEnv(
  get: (name: string) => string | undefined,
  names: readonly string[],
): EnvLookup {
  const allowed = new Set(names);
  return { get, allows: (name) => allowed.has(name) };
}

export const noEnv: EnvLookup = { get: () => undefined, allows: () => true };

/** One text that came from outside, as a whole or in part. */
export interface EnvUse {
  readonly path: Path;
  /** What people are shown in place of the value: `{{env.TOKEN}}`. */
  readonly label: string;
  readonly values: readonly string[];
  /** Whether the text is one variable and nothing else, so that it may become a number. */
  readonly whole: boolean;
  /** Whether the text stands in no file, so that findings have no position. */
  readonly outside?: boolean;
}

export interface Substituted {
  readonly value: unknown;
  readonly uses: readonly EnvUse[];
  /** Variables that were read, for the digest. */
  readonly used: ReadonlyMap<string, string>;
  readonly findings: readonly FlowError[];
  /** Where a variable is missing: nothing below is worth a second finding. */
  readonly failed: readonly Path[];
  /** Whether a value holds braces that templates must not read; then the output needs `unguard`. */
  readonly guarded: boolean;
}

const PLACEHOLDER = /\{\{\s*env\.([^\s{}]+)\s*\}\}/g;

/**
 * Fills in variables everywhere in a tree; keys are taken as they are. What has no placeholder is
 * shared with the tree that came in.
 */
export function substituteEnv(value: unknown, lookup: EnvLookup, places?: Places): Substituted {
  const filler = new Filler(lookup, places);
  return {
    value: filler.fill(value, []),
    uses: filler.uses,
    used: filler.used,
    findings: filler.findings,
    failed: filler.failed,
    guarded: filler.guarded,
  };
}

class Filler {
  readonly uses: EnvUse[] = [];
  readonly used = new Map<string, string>();
  readonly findings: FlowError[] = [];
  readonly failed: Path[] = [];
  guarded = false;

  constructor(readonly lookup: EnvLookup, readonly places: Places | undefined) {}

  /** @param path Grows and shrinks along the way. */
  fill(value: unknown, path: (string | number)[]): unknown {
    if (typeof value === "string") {
      return value.includes("{{") ? this.#text(value, [...path]) : value;
    }
    if (typeof value !== "object" || value === null) return value;
    const below = (item: unknown, step: string | number) => {
      path.push(step);
      const filled = this.fill(item, path);
      path.pop();
      return filled;
    };
    if (Array.isArray(value)) {
      const list = value.map(below);
      return list.some((item, index) => item !== value[index]) ? list : value;
    }
    if (Object.getPrototypeOf(value) !== Object.prototype) return value;
    const entries = Object.entries(value);
    const filled = entries.map(([key, item]) => [key, below(item, key)] as const);
    return filled.some(([, item], index) => item !== entries[index]![1])
      ? Object.fromEntries(filled)
      : value;
  }

  #text(text: string, path: Path): string {
    let out = "";
    let end = 0;
    let label = "";
    const values: string[] = [];
    for (const found of text.matchAll(PLACEHOLDER)) {
      const value = this.#variable(found[1]!, text, found.index, path);
      if (value === undefined) continue;
      label ||= found[0];
      values.push(value);
      out = join(join(out, text.slice(end, found.index)), guardText(value));
      end = found.index + found[0].length;
    }
    if (values.length === 0) return text;
    out = join(out, text.slice(end));
    const joined = text.replace(PLACEHOLDER, (found, name) => this.used.get(name) ?? found);
    if (out !== joined) this.guarded = true;
    this.uses.push({ path, label, values, whole: text === label });
    return out;
  }

  #variable(name: string, text: string, offset: number, path: Path): string | undefined {
    const allowed = this.lookup.allows(name);
    const value = allowed ? this.lookup.get(name) : undefined;
    if (value !== undefined) {
      this.used.set(name, value);
      return value;
    }
    const before = text.slice(0, offset).split("\n");
    const position = this.places?.locate(path, before.length, before.at(-1)!.length + 1);
    const finding = allowed
      ? new FlowError("config.env_missing", `The environment variable ${name} is not set`, {
        hint: `set ${name} before the start, or write the value here`,
        position,
      })
      : new FlowError("config.env_not_allowed", `This flow may not read the variable ${name}`, {
        hint: `add ${name} to the list flows.env in config.yaml; only flows from files see all`,
        position,
      });
    this.findings.push(finding);
    this.failed.push(path);
    return undefined;
  }
}

/** Two pieces of which one came from outside: a brace of each must not become a placeholder. */
function join(before: string, after: string): string {
  return before.endsWith("{") && after.startsWith("{")
    ? `${before}${GUARD}${after}`
    : before + after;
}
