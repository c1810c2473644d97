import { FlowError } from "../core/errors.ts";

/** Names a template may start with, such as `event` in `{{event.data.id}}`. */
export type Scope = Readonly<Record<string, unknown>>;

/**
 * Keeps two braces apart that came from outside (an environment variable) and shall be text. It is a
 * noncharacter of Unicode, which is never part of text that people exchange.
 */
export const GUARD = "\ufdd0";

/** The text such that no template is read from it; `unguard` gives it back. */
export function guardText(text: string): string {
  return text.replace(/\{(?=\{)/g, `{${GUARD}`);
}

/** A tree without guards. What holds none is the same tree. */
export function unguard<T>(tree: T): T;
export function unguard(tree: unknown): unknown {
  if (typeof tree === "string") {
    return tree.includes(GUARD) ? tree.replaceAll(`{${GUARD}`, "{") : tree;
  }
  if (typeof tree !== "object" || tree === null) return tree;
  if (Array.isArray(tree)) {
    const list = tree.map((item) => unguard(item));
    return list.some((item, index) => item !== tree[index]) ? list : tree;
  }
  if (Object.getPrototypeOf(tree) !== Object.prototype) return tree;
  const entries = Object.entries(tree).map(([key, item]) => [key, item, unguard(item)] as const);
  return entries.some(([, before, after]) => before !== after)
    ? Object.fromEntries(entries.map(([key, , after]) => [key, after]))
    : tree;
}

type Part = string | readonly string[];

/**
 * Text with `{{path}}` placeholders, compiled once. A path walks objects by key and arrays by index.
 * What a path yields is never read as a template again.
 */
export class Template {
  readonly #parts: readonly Part[];

  /** @throws {FlowError} `template.syntax` */
  constructor(readonly text: string) {
    this.#parts = split(text);
  }

  static isTemplate(text: string): boolean {
    return text.includes("{{");
  }

  /** All paths, in order, such as `["event", "data", "id"]`. */
  get paths(): readonly (readonly string[])[] {
    return this.#parts.filter((part): part is readonly string[] => typeof part !== "string");
  }

  /**
   * A placeholder alone gives the value with its type; mixed text gives text.
   *
   * @throws {FlowError} `template.missing_path`, `template.not_text`
   */
  render(scope: Scope): unknown {
    const parts = this.#parts;
    if (parts.length === 1 && typeof parts[0] !== "string") return resolve(parts[0]!, scope);
    let text = "";
    for (const part of parts) {
      text += typeof part === "string" ? part : asText(resolve(part, scope), part);
    }
    return text;
  }
}

function split(text: string): Part[] {
  const parts: Part[] = [];
  let from = 0;
  for (;;) {
    const open = text.indexOf("{{", from);
    if (open < 0) break;
    const close = text.indexOf("}}", open);
    if (close < 0) {
      throw new FlowError("template.syntax", `Cannot find the end of "${text.slice(open)}"`, {
        hint: "close the placeholder with }}",
      });
    }
    if (open > from) parts.push(unguard(text.slice(from, open)));
    parts.push(readPath(text.slice(open + 2, close).trim()));
    from = close + 2;
  }
  if (from < text.length || parts.length === 0) parts.push(unguard(text.slice(from)));
  return parts;
}

function readPath(inner: string): string[] {
  if (/^[A-Za-z_@$][^\s{}()"'#/]*$/.test(inner) && !/\.\.|\.$/.test(inner)) {
    return inner.split(".");
  }
  throw new FlowError("template.syntax", `Cannot read a path from "{{${inner}}}"`, {
    hint: /^[#/&>!^]/.test(inner)
      ? "blocks and helpers work in resource files and in a script's render() only"
      : "write dotted names, such as {{event.data.id}} or {{env.HOME}}",
  });
}

function resolve(path: readonly string[], scope: Scope): unknown {
  let value: unknown = scope;
  for (const name of path) {
    value = typeof value === "object" && value !== null && Object.hasOwn(value, name)
      ? (value as Record<string, unknown>)[name]
      : undefined;
    if (value === undefined) {
      throw new FlowError("template.missing_path", `Cannot find "${path.join(".")}" in the event`);
    }
  }
  return value;
}

function asText(value: unknown, path: readonly string[]): string {
  if (typeof value === "string") return value;
  if (value === null || typeof value === "number" || typeof value === "boolean") {
    return String(value);
  }
  throw new FlowError(
    "template.not_text",
    `Cannot put "${path.join(".")}" into text: it is ${
      Array.isArray(value) ? "a list" : "an object"
    }`,
    { hint: "use the placeholder alone, or pick a field of it" },
  );
}
