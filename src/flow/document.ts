import type { Document, Node, Pair, Scalar, YAMLError, YAMLMap, YAMLSeq } from "yaml";
import { FlowError, FlowErrors, type Position, textOf } from "../core/errors.ts";
import { offsetInScalar, type ScalarStyle } from "./scalar_place.ts";

export type Path = readonly (string | number)[];

/** Finds the places that findings point at. */
export interface Places {
  /**
   * Where the value at `path` starts; where it is missing, the key of what should hold it. With `line`
   * and `column` (from 1): that place inside the text of the value.
   */
  locate(path: Path, line?: number, column?: number): Position;
  /** Where the key of the value at `path` stands; the same as `locate` for list items. */
  keyPosition(path: Path): Position;
}

type Yaml = typeof import("yaml");
let yaml: Yaml | undefined;

/** Loads the YAML library, which a start-up that needs no files can do without. */
async function loadYaml(): Promise<Yaml> {
  return yaml ??= await loadBundle() ?? await import("yaml");
}

/**
 * The package's other build: the same code in one module that does not ask for environment variables.
 * It loads in 7 ms in place of 30, but `exports` names it for browsers only. Where it is not found,
 * such as in a compiled binary, the build for Node serves as well.
 */
async function loadBundle(): Promise<Yaml | null> {
  try {
    const build = import.meta.resolve("yaml").replace("/dist/index.js", "/browser/index.js");
    return build.endsWith("/browser/index.js") ? await import(build) : null;
  } catch {
    return null;
  }
}

/** Aliases that one file may expand to; what needs more is an attack rather than a flow. */
const MAX_ALIASES = 100;

/** One YAML or JSON file: its value, and where each part of it stands. */
export class ParsedDocument implements Places {
  #value: unknown;
  #released = false;
  readonly #text: string;
  readonly #yaml: Yaml;
  #tree: Document | undefined;
  #starts: readonly number[] | undefined;

  /** @throws {FlowErrors} `config.yaml_syntax` */
  constructor(text: string, readonly file: string, lib: Yaml) {
    this.#yaml = lib;
    this.#text = text.startsWith("\ufeff") ? text.slice(1) : text;
    try {
      this.#tree = this.#parse();
      const findings = [...this.#tree.errors, ...this.#tree.warnings];
      if (findings.length > 0) throw new FlowErrors(this.#syntaxErrors(findings));
      if (this.#text.includes("*")) this.#checkAliases(this.#tree);
      this.#value = this.#tree.toJS({ maxAliasCount: MAX_ALIASES });
      this.#checkJson(this.#value, [], new Set());
    } catch (cause) {
      if (cause instanceof FlowErrors) throw cause;
      throw new FlowErrors([this.#refusal(cause)]);
    }
  }

  /** Not to be asked for after `release`. */
  get value(): unknown {
    return this.#value;
  }

  /** Forgets all but the text; `locate` reads it again if it is asked, which is when errors are. */
  release(): void {
    this.#released = true;
    this.#value = undefined;
    this.#tree = undefined;
    this.#starts = undefined;
  }

  locate(path: Path, line?: number, column = 1): Position {
    const { node, key, found } = this.#find(path);
    if (!found || !node?.range || isEmpty(node)) return this.#at(startOf(key ?? node));
    if (line === undefined || !this.#yaml.isScalar(node)) return this.#at(node.range[0]);
    const style = STYLES[node.type ?? "PLAIN"] ?? "plain";
    // A block scalar's range leaves out blank lines at its end, which can still be pointed at.
    const end = style === "literal" || style === "folded" ? node.range[2] : node.range[1];
    return this.#at(offsetInScalar(this.#text, node.range[0], end, style, line, column));
  }

  keyPosition(path: Path): Position {
    const { node, key } = this.#find(path);
    return this.#at(startOf(key ?? node));
  }

  #parse(): Document {
    return this.#yaml.parseDocument(this.#text, {
      prettyErrors: false,
      stringKeys: true,
      logLevel: "error",
    });
  }

  /** The deepest node on the way to `path` and its key; `found` when the way goes to the end. */
  #find(path: Path): { node: Node | null; key: Node | null; found: boolean } {
    const tree = this.#tree ?? this.#parse();
    // A tree is many times the size of its text, and errors are rare.
    if (!this.#released) this.#tree = tree;
    const { isMap, isSeq, isAlias } = this.#yaml;
    const resolve = (node: unknown) =>
      (isAlias(node) ? node.resolve(tree) ?? null : node ?? null) as Node | null;
    let node = resolve(tree.contents);
    let key: Node | null = null;
    for (const step of path) {
      if (isMap(node)) {
        const pair = pairOf(node, String(step));
        if (!pair) return { node, key, found: false };
        key = pair.key as Node;
        node = resolve(pair.value);
      } else if (isSeq(node) && typeof step === "number" && step < (node as YAMLSeq).items.length) {
        node = resolve((node as YAMLSeq).items[step]);
        key = null;
      } else {
        return { node, key, found: false };
      }
    }
    return { node, key, found: true };
  }

  #at(offset: number): Position {
    const starts = this.#starts ??= lineStarts(this.#text);
    let low = 0;
    let high = starts.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (starts[middle]! <= offset) low = middle;
      else high = middle - 1;
    }
    return { file: this.file, line: low + 1, column: offset - starts[low]! + 1 };
  }

  /**
   * One broken place makes the parser stumble over many that follow, so only the first syntax error is
   * told; keys written twice are told each.
   */
  #syntaxErrors(errors: readonly YAMLError[]): FlowError[] {
    const twice = errors.filter((error) => error.code === "DUPLICATE_KEY");
    const broken = errors.filter((error) => error.code !== "DUPLICATE_KEY")
      .sort((a, b) => a.pos[0] - b.pos[0])[0];
    return [...(broken ? [broken] : []), ...twice].map((error) => this.#syntaxError(error));
  }

  #syntaxError(error: YAMLError): FlowError {
    const offset = Math.min(error.pos[0], this.#text.length);
    const line = this.#text.slice(lineStart(this.#text, offset)).split(/\r?\n/, 1)[0]!;
    if (error.code === "DUPLICATE_KEY") {
      const { name, first } = this.#repeated(offset);
      const message = `The key "${name}" is written twice; the first is on line ${first}`;
      return this.#finding(message, offset, "keep one of the two");
    }
    const rest = this.#text.slice(offset).split(/\r?\n/, 1)[0]!;
    const { message, hint } = explain(error, rest, line);
    // The parser notices an open quote where the text ends; what needs mending is where it starts.
    const quote = error.code === "MISSING_CHAR" ? this.#openQuote(offset) : undefined;
    return this.#finding(message, quote ?? offset, hint);
  }

  #finding(message: string, offset: number, hint?: string, cause?: unknown): FlowError {
    const position = this.#at(Math.min(offset, this.#text.length));
    return new FlowError("config.yaml_syntax", message, { hint, position, cause });
  }

  /** The key at `offset`, and the line of the one that it repeats. */
  #repeated(offset: number): { name: string; first: number } {
    let name = "";
    let first = offset;
    this.#yaml.visit(this.#tree!, {
      Map: (_, map) => {
        const keys = map.items.map((pair) => pair.key as Scalar);
        const twin = keys.find((key) => key?.range?.[0] === offset);
        if (!twin) return;
        name = String(twin.value);
        first = startOf(keys.find((key) => key?.value === twin.value) ?? null);
      },
    });
    return { name, first: this.#at(first).line };
  }

  #openQuote(offset: number): number | undefined {
    let start: number | undefined;
    this.#yaml.visit(this.#tree!, {
      Scalar: (_, { type, range }) => {
        if (type?.startsWith("QUOTE") && range && range[0] < offset) start = range[0];
      },
    });
    return start;
  }

  #checkAliases(tree: Document): void {
    this.#yaml.visit(tree, {
      Alias: (_, alias) => {
        if (alias.resolve(tree)) return;
        const hint = `put it in quotes if "*${alias.source}" is meant as text`;
        const message = `Cannot find the anchor "&${alias.source}" above this alias`;
        throw new FlowErrors([this.#finding(message, startOf(alias as Node), hint)]);
      },
    });
  }

  /** YAML can say more than JSON can: numbers without end, bytes, a list that holds itself. */
  #checkJson(value: unknown, path: (string | number)[], above: Set<object>): void {
    const refuse = (what: string) => {
      const position = this.locate(path);
      throw new FlowErrors([new FlowError("config.yaml_syntax", what, { position })]);
    };
    if (typeof value === "number" && !Number.isFinite(value)) {
      refuse("Expected a finite number");
    } else if (typeof value === "object" && value !== null) {
      const plain = Array.isArray(value) || Object.getPrototypeOf(value) === Object.prototype;
      if (!plain) refuse("Expected text, a number, true, false, a list or a map");
      if (above.has(value)) refuse("An alias cannot stand inside what it refers to");
      above.add(value);
      const list = Array.isArray(value);
      for (const [key, item] of Object.entries(value)) {
        path.push(list ? Number(key) : key);
        this.#checkJson(item, path, above);
        path.pop();
      }
      above.delete(value);
    }
  }

  #refusal(cause: unknown): FlowError {
    if (cause instanceof RangeError) return this.#finding(TOO_DEEP, 0, undefined, cause);
    if (cause instanceof ReferenceError) {
      const hint =
        `repeat the content instead; a file's aliases may expand to ${MAX_ALIASES} copies`;
      return this.#finding("Cannot expand this many aliases", 0, hint, cause);
    }
    const text = textOf(cause);
    return this.#finding(`Cannot read this file as YAML: ${text}`, 0, undefined, cause);
  }
}

const TOO_DEEP = "Cannot read what is nested this deeply";

/**
 * Reads exactly one YAML (or JSON) document.
 *
 * @param file As shown to people.
 * @throws {FlowErrors} `config.yaml_syntax`
 */
export async function parseDocument(text: string, file: string): Promise<ParsedDocument> {
  return new ParsedDocument(text, file, await loadYaml());
}

const STYLES: Record<string, ScalarStyle> = {
  BLOCK_LITERAL: "literal",
  BLOCK_FOLDED: "folded",
  QUOTE_DOUBLE: "double",
  QUOTE_SINGLE: "single",
  PLAIN: "plain",
};

function pairOf(map: YAMLMap, key: string): Pair | undefined {
  return map.items.find((pair) => String((pair.key as Scalar | null)?.value ?? "") === key);
}

function startOf(node: Node | null): number {
  return node?.range?.[0] ?? 0;
}

/** `key:` without a value: its node stands behind the colon, where nothing can be seen. */
function isEmpty(node: Node): boolean {
  return node.range![0] === node.range![1];
}

function lineStarts(text: string): number[] {
  const starts = [0];
  for (let at = text.indexOf("\n"); at >= 0; at = text.indexOf("\n", at + 1)) starts.push(at + 1);
  return starts;
}

function lineStart(text: string, offset: number): number {
  return offset === 0 ? 0 : text.lastIndexOf("\n", offset - 1) + 1;
}

/** The parser's words for people who did not write a parser. */
function explain(
  error: YAMLError,
  rest: string,
  line: string,
): { message: string; hint?: string } {
  const placeholder = /(?:[:-]|^)\s+(\{\{[^}]*\}\}[^\s#]*)/.exec(line)?.[1];
  if (placeholder) {
    return {
      message: `Cannot read ${placeholder} without quotes: YAML takes "{" for the start of a map`,
      hint: `write "${placeholder}"`,
    };
  }
  switch (error.code) {
    case "MULTIPLE_DOCS":
      return {
        message: "Expected one YAML document, found another one after ---",
        hint: "put each document into a file of its own",
      };
    case "TAB_AS_INDENT":
      return { message: "YAML cannot be indented with tabs", hint: "indent with spaces" };
    case "BLOCK_AS_IMPLICIT_KEY":
      if (!/:(?:\s|$)/.test(rest)) {
        return {
          message: "Expected either a value or the keys of a map, found both",
          hint: "remove the value behind the colon, or align the next line with this key",
        };
      }
      return {
        message: "Cannot read a second key on one line",
        hint: 'put text that contains ": " in quotes, or start a new line and indent it',
      };
    case "MISSING_CHAR":
      if (!/quote/.test(error.message)) break;
      return { message: "This text has no closing quote", hint: "close it on the line it ends" };
    case "BAD_INDENT":
      if (error.message.startsWith("Flow")) {
        const open = error.message.includes("]") ? "[" : "{";
        return {
          message: `This line stands inside a list or map that "${open}" opened`,
          hint: `close it with "${open === "[" ? "]" : "}"}" on a line above`,
        };
      }
      return {
        message: "This line's indentation fits none of the lines above",
        hint: "align it with its neighbours, and indent what belongs to a key by two spaces",
      };
    case "NON_STRING_KEY":
      return { message: "A key must be text", hint: "put it in quotes" };
    case "TAG_RESOLVE_FAILED":
      return { message: `Cannot use the YAML tag in "${line.trim()}"`, hint: "leave the tag out" };
    case "BAD_ALIAS":
      return { message: error.message.replace(/\.$/, ""), hint: "quote text that starts with *" };
  }
  if (error.message.startsWith("Maximum call stack")) return { message: TOO_DEEP };
  return { message: `Cannot read this as YAML: ${error.message.replace(/\.$/, "")}` };
}
