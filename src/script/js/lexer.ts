/** One word, sign or literal of a script. `at` and `end` are offsets into the source. */
export interface Token {
  readonly kind: "name" | "number" | "string" | "template" | "regex" | "sign";
  readonly text: string;
  readonly at: number;
  readonly end: number;
}

/** Where reading stopped because a string, template, comment or regex has no end. */
export interface Unterminated {
  readonly what: string;
  readonly at: number;
}

export interface Lexed {
  readonly tokens: readonly Token[];
  /** A `/` could have been read in two ways, so the tokens after it may be wrong. */
  readonly ambiguous: boolean;
  readonly unterminated?: Unterminated;
}

const NAME = /[\p{ID_Start}$_#@\\][\p{ID_Continue}$\u200c\u200d\\{}]*/uy;
const NAME_PLAIN = /[\p{ID_Start}$_#@][\p{ID_Continue}$\u200c\u200d]*/uy;
const NUMBER =
  /(?:0[xXbBoO][\da-fA-F_]+|(?:\d[\d_]*\.?[\d_]*|\.\d[\d_]*)(?:[eE][+-]?\d[\d_]*)?)n?/y;
const SIGN =
  />>>=|\.\.\.|\*\*=|<<=|>>=|>>>|&&=|\|\|=|\?\?=|=>|===|!==|==|!=|<=|>=|&&|\|\||\?\?|\?\.(?!\d)|\+\+|--|\+=|-=|\*=|\/=|%=|&=|\|=|\^=|<<|>>|\*\*|[\s\S]/y;

/** Words after which a `/` starts a regular expression rather than a division. */
const BEFORE_REGEX = new Set(
  "return typeof instanceof in of new delete void throw case do else yield await".split(" "),
);

/**
 * Cuts JavaScript into tokens: enough to look for words outside of text and comments, not a parser.
 * Where it must guess (a `/` after `)` or `}`), it takes a division, as most scripts mean it; who uses
 * the tokens must stay right when the guess is wrong.
 */
export function lex(source: string): Lexed {
  const tokens: Token[] = [];
  let at = 0;
  /** Depth of braces at which each open `${` of a template ends. */
  const holes: number[] = [];
  let depth = 0;
  // `<!--` and `-->` may start a comment of the web's early days, and may be plain signs.
  let ambiguous = source.includes("<!--") || source.includes("-->");
  const add = (kind: Token["kind"], end: number) => {
    tokens.push({ kind, text: source.slice(at, end), at, end });
    at = end;
  };
  while (at < source.length) {
    const char = source[at]!;
    if (/\s/.test(char)) {
      at++;
    } else if (source.startsWith("//", at)) {
      at = lineEnd(source, at);
    } else if (source.startsWith("/*", at)) {
      const end = source.indexOf("*/", at + 2);
      if (end < 0) return { tokens, ambiguous, unterminated: { what: "comment", at } };
      at = end + 2;
    } else if (char === '"' || char === "'") {
      const end = stringEnd(source, at);
      if (end < 0) return { tokens, ambiguous, unterminated: { what: "string", at } };
      add("string", end);
    } else if (char === "`" || (char === "}" && holes.at(-1) === depth)) {
      if (char === "}") holes.pop();
      const end = templateEnd(source, at + 1);
      if (end < 0) return { tokens, ambiguous, unterminated: { what: "template", at } };
      if (source[end - 1] === "{") holes.push(depth);
      add("template", end);
    } else if (char === "/" && startsRegex(tokens)) {
      const end = regexEnd(source, at);
      if (end < 0) return { tokens, ambiguous, unterminated: { what: "regular expression", at } };
      add("regex", end);
    } else if (/[\d]/.test(char) || (char === "." && /\d/.test(source[at + 1] ?? ""))) {
      add("number", match(NUMBER, source, at) ?? at + 1);
    } else {
      const name = match(char === "\\" ? NAME : NAME_PLAIN, source, at);
      if (name !== undefined) {
        add("name", name);
        continue;
      }
      if (char === "{") depth++;
      if (char === "}") depth--;
      if (char === "/") ambiguous ||= couldBeRegex(tokens.at(-1), source, at);
      add("sign", match(SIGN, source, at)!);
    }
  }
  return { tokens, ambiguous };
}

function match(pattern: RegExp, source: string, at: number): number | undefined {
  pattern.lastIndex = at;
  return pattern.test(source) ? pattern.lastIndex : undefined;
}

function lineEnd(source: string, at: number): number {
  const end = /[\n\r\u2028\u2029]/g;
  end.lastIndex = at;
  return end.exec(source)?.index ?? source.length;
}

function stringEnd(source: string, at: number): number {
  for (let i = at + 1; i < source.length; i++) {
    if (source[i] === "\\") i++;
    else if (source[i] === source[at]) return i + 1;
    else if (source[i] === "\n") return -1;
  }
  return -1;
}

/** The end of a template's text: behind its closing backtick or the `{` of its next `${`. */
function templateEnd(source: string, from: number): number {
  for (let i = from; i < source.length; i++) {
    if (source[i] === "\\") i++;
    else if (source[i] === "`") return i + 1;
    else if (source[i] === "$" && source[i + 1] === "{") return i + 2;
  }
  return -1;
}

function regexEnd(source: string, at: number): number {
  let inClass = false;
  for (let i = at + 1; i < source.length; i++) {
    const char = source[i];
    if (char === "\n") return -1;
    if (char === "\\") i++;
    else if (char === "[") inClass = true;
    else if (char === "]") inClass = false;
    else if (char === "/" && !inClass) {
      for (i++; /[a-z]/.test(source[i] ?? ""); i++);
      return i;
    }
  }
  return -1;
}

function startsRegex(tokens: readonly Token[]): boolean {
  const before = tokens.at(-1);
  if (!before) return true;
  if (before.kind === "name") {
    return BEFORE_REGEX.has(before.text) && ![".", "?."].includes(tokens.at(-2)?.text ?? "");
  }
  if (before.kind === "template") return before.text.endsWith("{");
  if (before.kind !== "sign") return false;
  return ![")", "]", "}", "++", "--"].includes(before.text);
}

/** `if (x) /a/.test(y)` looks like `(x) / a / y`: only a line with a second `/` can be meant. */
function couldBeRegex(before: Token | undefined, source: string, at: number): boolean {
  if (!before || ![")", "}", "++", "--"].includes(before.text)) return false;
  return source.slice(at + 1, lineEnd(source, at)).includes("/");
}
