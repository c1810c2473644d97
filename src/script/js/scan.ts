import type { Token } from "./lexer.ts";

/** What a script does, as far as its words tell. Each answer errs on the safe side. */
export interface Traits {
  readonly hasReturn: boolean;
  /** It waits, or uses what has to be waited for. */
  readonly isAsync: boolean;
  /**
   * Whether the event it is given could change: `none` only when nothing in it writes to anything
   * but plain variables, so that the event can be lent instead of copied.
   */
  readonly writes: boolean;
  /** It may look at `ctx.meta`. */
  readonly usesMeta: boolean;
  /** It may build objects that answer differently each time they are asked. */
  readonly exotic: boolean;
}

const ASYNC = new Set(["await", "async", "Promise"]);

const ASSIGN = new Set(
  "= += -= *= /= %= **= <<= >>= >>>= &= |= ^= &&= ||= ??=".split(" "),
);

/** Names through which a value can be changed without an assignment, or code be reached unseen. */
const WRITERS = new Set(
  ("delete class super eval Function constructor globalThis Reflect Proxy with import " +
    "push pop shift unshift splice sort reverse fill copyWithin call apply bind " +
    "__proto__ __defineGetter__ __defineSetter__ Deno process").split(" "),
);

/** What of `Object` only reads. */
const READERS = new Set("keys values entries fromEntries hasOwn groupBy is".split(" "));

const EXOTIC = new Set("get set Proxy Object class Reflect prototype __proto__".split(" "));

/** Looks at the tokens of a function body; `known` is false when they may be wrong. */
export function scan(tokens: readonly Token[], known: boolean): Traits {
  const names = tokens.filter((token) => token.kind === "name");
  const text = (i: number) => tokens[i]?.text ?? "";
  const has = (some: ReadonlySet<string>) => names.some((token) => some.has(token.text));
  const usesOfCtx = tokens.flatMap((token, i) =>
    token.text !== "ctx" || text(i - 1) === "." ? [] : [text(i + 1) === "." ? text(i + 2) : ""]
  );
  const escaped = names.some((token) => token.text.includes("\\"));
  return {
    hasReturn: !known || names.some((token) => token.text === "return"),
    isAsync: has(ASYNC) || escaped ||
      usesOfCtx.some((name) => ["", "cache", "resource"].includes(name)),
    writes: !known || escaped || tokens.some((_, i) => mayWrite(tokens, text, i)),
    usesMeta: !known || escaped || usesOfCtx.some((name) => ["", "meta"].includes(name)),
    exotic: !known || escaped ||
      tokens.some(({ text: name }, i) => EXOTIC.has(name) && text(i - 1) !== "."),
  };
}

function mayWrite(
  tokens: readonly Token[],
  text: (i: number) => string,
  i: number,
): boolean {
  const token = tokens[i]!;
  const before = tokens[i - 1];
  const isMember = before?.text === "." || before?.text === "?.";
  if (token.kind === "name") {
    if (WRITERS.has(token.text)) return true;
    if (token.text === "Object") return text(i + 1) !== "." || !READERS.has(text(i + 2));
    // `for (event.data.x of …)` assigns without a sign.
    if (token.text === "for") {
      const first = text(i + 1) === "await" ? i + 3 : i + 2;
      return !["const", "let", "var", ";"].includes(text(first)) &&
        !["=", ","].includes(text(first + 1));
    }
    return false;
  }
  if (token.kind !== "sign") return false;
  if (ASSIGN.has(token.text)) return !assignsVariable(tokens, text, i);
  if (token.text === "++" || token.text === "--") {
    const prefix = tokens[i + 1]?.kind === "name" && ![".", "[", "?.", "("].includes(text(i + 2));
    const postfix = before?.kind === "name" && ![".", "?."].includes(text(i - 2));
    return !(postfix || (prefix && before?.text !== "]" && before?.text !== ")"));
  }
  if (token.text === "[") return computes(tokens, text, i, isMember);
  // `(a[m])(…)` and `a[m]?.(…)` call with a receiver that could be changed by it.
  if (token.text === "(") return [")", "]", "?."].includes(before?.text ?? "");
  return false;
}

/** Whether the `=` at `i` sets a variable or a default, rather than a field of something. */
function assignsVariable(
  tokens: readonly Token[],
  text: (i: number) => string,
  i: number,
): boolean {
  const target = tokens[i - 1];
  if (target?.kind === "name") return ![".", "?."].includes(text(i - 2));
  if (target?.text !== "}" && target?.text !== "]") return false;
  // A pattern: fine when it declares, as in `const { a, b } = event.data`.
  let depth = 0;
  for (let at = i - 1; at >= 0; at--) {
    if (["}", "]", ")"].includes(text(at))) depth++;
    if (["{", "[", "("].includes(text(at))) depth--;
    if (depth === 0) return ["const", "let", "var"].includes(text(at - 1));
  }
  return false;
}

/** Whether the `[` at `i` picks a field by a name that cannot be read here. */
function computes(
  tokens: readonly Token[],
  text: (i: number) => string,
  i: number,
  isMember: boolean,
): boolean {
  const before = tokens[i - 1];
  const keyword = before !== undefined && KEYWORDS.has(before.text);
  const picks = isMember || (before !== undefined && !keyword &&
    (before.kind === "name" || before.kind === "string" || [")", "]"].includes(before.text)));
  if (picks) {
    const key = tokens[i + 1];
    const literal = text(i + 2) === "]" &&
      (key?.kind === "number" || (key?.kind === "string" && /^.[\w -]*.$/.test(key.text) &&
        !WRITERS.has(key.text.slice(1, -1))));
    return !literal;
  }
  // `{ [name]: value }` may be a pattern that takes a method out of an array.
  if (before?.text !== "{" && before?.text !== ",") return false;
  let depth = 0;
  for (let at = i; at < tokens.length; at++) {
    if (text(at) === "[") depth++;
    if (text(at) === "]" && --depth === 0) return [":", "("].includes(text(at + 1));
  }
  return true;
}

const KEYWORDS = new Set(
  "return case of in typeof void throw new else do yield await const let var default".split(" "),
);
