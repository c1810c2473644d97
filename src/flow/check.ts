import * as v from "valibot";
import { FlowError, type Position } from "../core/errors.ts";
import { unguard } from "../template/template.ts";
import type { Path, Places } from "./document.ts";
import type { EnvUse, Substituted } from "./env.ts";
import { choicesOf, isObject, keysOf, waysAt } from "./schema_walk.ts";
import { didYouMean, nearest, quoteList } from "./similar.ts";
import { describeGot, describeWanted, writeInstead } from "./wording.ts";

export interface CheckOptions {
  /** Where positions come from; findings have none without. */
  readonly places?: Places;
  /** Where the value stands in its file. */
  readonly base?: Path;
  /** What the keys belong to: `task "http_request"`. */
  readonly subject?: string;
  /** Keys that are right here too, although the schema does not name them. */
  readonly otherKeys?: readonly string[];
  /** What was filled in from outside; its paths count from the root of the file. */
  readonly env?: Pick<Substituted, "uses" | "failed" | "guarded">;
}

export type Checked<T> =
  | { readonly ok: true; readonly output: T }
  | { readonly ok: false; readonly findings: readonly FlowError[] };

/** Keys whose values never stand in a message, nor what is below them. */
export const SECRET_KEY =
  /secret|token|passw(or)?d|passphrase|credential|seed|api[-_]?key|private[-_]?key|authorization|bearer|cookie/i;

/** A header or field that holds a secret; as a section, such as `http_server.auth`, its keys decide. */
const AUTH = /(^|[-_])auth$/i;

/**
 * Reads a value by its schema. All that is wrong comes back at once, in the order of the file, each
 * finding with its place: `config.unknown_key`, `config.missing_key`, `config.wrong_type`,
 * `config.invalid_value`.
 */
export function checkValue<S extends v.GenericSchema>(
  schema: S,
  value: unknown,
  options: CheckOptions = {},
): Checked<v.InferOutput<S>> {
  let result = v.safeParse(schema, value);
  if (!result.success && options.env) {
    const cast = castEnv(schema, value, result.issues, options);
    if (cast) [value, result] = [cast.value, cast.result];
  }
  if (result.success) {
    return { ok: true, output: options.env?.guarded ? unguard(result.output) : result.output };
  }
  return { ok: false, findings: new Wording(schema, value, options).findings(result.issues) };
}

type Issue = v.BaseIssue<unknown>;
type Result<S extends v.GenericSchema> = v.SafeParseResult<S>;

/** A variable is always text; where text alone is refused, it may stand for a number or a list. */
function castEnv<S extends v.GenericSchema>(
  schema: S,
  value: unknown,
  issues: readonly Issue[],
  { env, base = [] }: CheckOptions,
): { value: unknown; result: Result<S> } | undefined {
  let best: { value: unknown; result: Result<S> } | undefined;
  for (const issue of issues) {
    const path = keysOfIssue(issue);
    const use = env!.uses.find((one) => one.whole && samePath(one.path, [...base, ...path]));
    if (!use) continue;
    for (const candidate of readingsOf(use.values[0]!)) {
      const changed = withValue(best?.value ?? value, path, candidate);
      const result = v.safeParse(schema, changed);
      // A number out of range is a number all the same, and should be told as one.
      const wrongType = result.issues?.some((one) =>
        one.kind === "schema" && samePath(keysOfIssue(one), path)
      );
      if (wrongType) continue;
      best = { value: changed, result };
      break;
    }
  }
  return best;
}

function readingsOf(text: string): unknown[] {
  if (/^-?\d+(\.\d+)?([eE][-+]?\d+)?$/.test(text)) return [Number(text), [text]];
  if (text === "true" || text === "false") return [text === "true", [text]];
  return [text.split(",").map((part) => part.trim()).filter((part) => part !== "")];
}

function withValue(tree: unknown, path: Path, value: unknown): unknown {
  const [step, ...rest] = path;
  if (step === undefined) return value;
  if (Array.isArray(tree)) {
    return tree.map((item, index) => index === step ? withValue(item, rest, value) : item);
  }
  const map = tree as Record<string, unknown>;
  return { ...map, [step]: withValue(map[step], rest, value) };
}

/** Words valibot's issues for people who edit YAML. */
class Wording {
  readonly #base: Path;
  /** Places of keys that unknown ones probably stand for. */
  readonly #meant = new Set<string>();

  constructor(
    readonly schema: v.GenericSchema,
    readonly value: unknown,
    readonly options: CheckOptions,
  ) {
    this.#base = options.base ?? [];
  }

  findings(issues: readonly Issue[]): FlowError[] {
    // Two rules that one value breaks, or two keys that a list cannot have, are one thing to mend.
    const byPlace = new Map<string, FlowError>();
    for (const issue of issues) {
      for (const { key, error } of this.#read(issue)) {
        if (!byPlace.has(key)) byPlace.set(key, error);
      }
    }
    // A key that is there with a slip of the pen is not missing as well.
    for (const key of this.#meant) {
      if (byPlace.get(key)?.code === "config.missing_key") byPlace.delete(key);
    }
    return [...byPlace.values()];
  }

  *#read(issue: Issue): Generator<{ key: string; error: FlowError }> {
    const path = keysOfIssue(issue);
    const last = issue.path?.at(-1);
    const parent = path.slice(0, -1);
    if (last && isObject(last.input) && (last.origin === "key" || issue.type === "variant")) {
      if (Array.isArray(last.input)) {
        yield { key: keyOf(parent), error: this.#wrongType(parent, last.input, "a map") };
        return;
      }
      if (issue.expected === "never") {
        yield* this.#unknownKeys(parent, last.input);
        return;
      }
      if (!(String(last.key) in last.input)) {
        if (!this.#failed(path, false)) {
          yield { key: keyOf(path), error: this.#missing(parent, String(last.key)) };
        }
        return;
      }
    }
    if (this.#failed(path, true)) return;
    yield { key: keyOf(path), error: this.#invalid(issue, path) };
  }

  *#unknownKeys(path: Path, map: Record<string, unknown>) {
    const known = keysOf(waysAt(this.schema, this.value, path));
    const others = path.length === 0 ? this.options.otherKeys ?? [] : [];
    for (const key of Object.keys(map)) {
      if (known.includes(key) || others.includes(key)) continue;
      const near = nearest(key, [...known, ...others]);
      if (near !== undefined) this.#meant.add(keyOf([...path, near]));
      const here = this.#where(path);
      const list = known.length > 0 ? `: expected one of ${quoteList(known)}` : "";
      const error = new FlowError("config.unknown_key", `Unknown key "${key}" in ${here}${list}`, {
        hint: didYouMean(key, [...known, ...others]),
        position: this.options.places?.keyPosition([...this.#base, ...path, key]),
      });
      yield { key: keyOf([...path, key]), error };
    }
  }

  #missing(path: Path, key: string): FlowError {
    const choices = choicesOf(waysAt(this.schema, this.value, [...path, key]));
    return new FlowError("config.missing_key", `Missing key "${key}" in ${this.#where(path)}`, {
      hint: choices && `expected one of ${quoteList(choices.map(String))}`,
      position: this.options.places?.keyPosition([...this.#base, ...path]),
    });
  }

  #wrongType(path: Path, value: unknown, wanted: string): FlowError {
    const message = `Expected ${wanted} for ${this.#name(path)}, got ${this.#got(path, value)}`;
    return new FlowError("config.wrong_type", message, {
      position: this.#place(path),
      hint: this.#hidden(path) ? undefined : writeInstead(wanted, value),
    });
  }

  #invalid(issue: Issue, path: Path): FlowError {
    const value = issue.input;
    const ways = waysAt(this.schema, this.value, path);
    const choices = choicesOf(ways);
    const own = /^Invalid [\w ]+: (Expected|Received) /.test(issue.message)
      ? undefined
      : issue.message.split("\nhint: ");
    if (!own && !choices && issue.kind === "schema") {
      return this.#wrongType(path, value, describeWanted(issue, ways));
    }
    const wanted = choices && !own ? `one of ${quoteList(choices.map(String))}` : undefined;
    let message = own?.[0] ?? `Expected ${wanted ?? describeWanted(issue, ways)}`;
    if (message.startsWith("Expected ")) {
      message += ` for ${this.#name(path)}, got ${this.#got(path, value)}`;
    }
    const hint = own?.[1] ??
      (typeof value === "string" && choices ? didYouMean(value, choices.map(String)) : undefined);
    // A union whose options break on a rule, not on the type, was given the right type.
    const typed = issue.kind !== "schema" || choices || issue.type === "custom" ||
      issue.issues?.some((inner) => inner.kind !== "schema");
    return new FlowError(
      typed ? "config.invalid_value" : "config.wrong_type",
      this.#scrub(message, path, value),
      {
        hint: hint === undefined ? undefined : this.#scrub(hint, path, value),
        position: this.#place(path),
      },
    );
  }

  #place(path: Path): Position | undefined {
    if (this.#envUse(path)?.outside) return undefined;
    return this.options.places?.locate([...this.#base, ...path]);
  }

  /** `task "x"`, or `"retry" of task "x"`. */
  #where(path: Path): string {
    const subject = this.options.subject ?? "this file";
    if (path.length === 0) return subject;
    return this.options.subject ? `"${path.join(".")}" of ${subject}` : `"${path.join(".")}"`;
  }

  /** The field as a person would call it: `"size"`, `"depends_on[0]"`. */
  #name(path: Path): string {
    if (path.length === 0) return this.options.subject ?? "this file";
    let first = path.length - 1;
    while (first > 0 && typeof path[first] === "number") first--;
    const indexes = path.slice(first + 1).map((index) => `[${index}]`).join("");
    return `"${path[first]}${indexes}"`;
  }

  #got(path: Path, value: unknown): string {
    const use = this.#envUse(path);
    if (use) return `text from ${use.label}`;
    return describeGot(value, this.#hidden(path));
  }

  #envUse(path: Path): EnvUse | undefined {
    return this.options.env?.uses.find((use) => startsWith(use.path, [...this.#base, ...path]));
  }

  #hidden(path: Path): boolean {
    const secret = path.some((step, index) =>
      SECRET_KEY.test(String(step)) ||
      (AUTH.test(String(step)) && typeof path[index + 1] !== "string")
    );
    return secret || this.#envUse(path) !== undefined;
  }

  /** Words of a schema may quote the value, which must not be seen when it is a secret. */
  #scrub(text: string, path: Path, value: unknown): string {
    const use = this.#envUse(path);
    if (!use && !this.#hidden(path)) return text;
    const shown = use?.label ?? "***";
    const secrets = [...(use?.values ?? []), ...(typeof value === "string" ? [value] : [])]
      .filter((secret) => secret !== "");
    return secrets.reduce((out, secret) =>
      // A value of few letters would be found everywhere; then only its quoted form is taken out.
      secret.length < 4
        ? out.replaceAll(`"${secret}"`, `"${shown}"`)
        : out.replaceAll(secret, shown), text);
  }

  /** Whether a variable was missing there; what it left behind is no second finding. */
  #failed(path: Path, both: boolean): boolean {
    const full = [...this.#base, ...path];
    return this.options.env?.failed.some((one) =>
      startsWith(full, one) || (both && startsWith(one, full))
    ) ?? false;
  }
}

function keysOfIssue(issue: Issue): (string | number)[] {
  return (issue.path ?? []).map((item) => item.key as string | number);
}

function keyOf(path: Path): string {
  return JSON.stringify(path);
}

function startsWith(path: Path, start: Path): boolean {
  return start.length <= path.length && start.every((step, index) => step === path[index]);
}

export function samePath(a: Path, b: Path): boolean {
  return a.length === b.length && startsWith(a, b);
}
