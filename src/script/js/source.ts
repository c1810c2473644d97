import { builtin } from "./builtin.ts";
import { FlowError, textOf } from "../../core/errors.ts";
import type { ScriptSource } from "../../flow/script.ts";
import { lex } from "./lexer.ts";
import { syntaxError, unterminated } from "./locate.ts";
import { scan, type Traits } from "./scan.ts";

/** A script that may be compiled: JavaScript of one function body, and what it does. */
export interface Prepared extends Traits {
  readonly body: string;
}

export const NO_RETURN_HINT =
  'add a return, such as "return event.data", or set "engine: rhai", where the last value counts';

/**
 * Strips types and makes sure that the code is the body of one function; nothing runs.
 *
 * @throws {FlowError} `script.syntax`, `script.no_return`; position within the code, `file` empty.
 */
export function prepare(source: ScriptSource): Prepared {
  const body = source.language === "ts" ? stripTypes(source.code) : source.code;
  const lexed = lex(body);
  const traits = scan(lexed.tokens, !lexed.ambiguous && !lexed.unterminated);
  const isAsync = compiles(body, traits.isAsync);
  if (isAsync instanceof SyntaxError) {
    throw lexed.unterminated &&
        /unterminated|invalid or unexpected|invalid regular/i.test(isAsync.message)
      ? unterminated(body, lexed.unterminated)
      : syntaxError(body, lexed.tokens, isAsync.message);
  }
  if (!traits.hasReturn) {
    throw new FlowError("script.no_return", "The script never returns anything", {
      hint: NO_RETURN_HINT,
      position: { file: "", line: 1, column: 1 },
    });
  }
  return { ...traits, isAsync, body };
}

const AsyncFunction = (async () => {}).constructor as FunctionConstructor;

/**
 * Whether the body compiles, as asynchronous or not. These constructors parse the body by itself, so
 * that nothing like `}); more(); (function () {` can break out of a wrapper later. They run nothing.
 */
function compiles(body: string, preferAsync: boolean): boolean | SyntaxError {
  let first: SyntaxError | undefined;
  for (const isAsync of preferAsync ? [true] : [false, true]) {
    try {
      new (isAsync ? AsyncFunction : Function)("event", "ctx", `"use strict";${body}`);
      return isAsync;
    } catch (cause) {
      if (!(cause instanceof SyntaxError)) throw cause;
      first ??= cause;
    }
  }
  return first!;
}

/** Types become spaces, so every position stays. Enums and the like need code and are refused. */
function stripTypes(code: string): string {
  const { stripTypeScriptTypes } = builtin("node:module");
  try {
    return unwrap(stripTypeScriptTypes(wrap(code)));
  } catch (cause) {
    const message = textOf(cause);
    const place = /^(?:\[\w+\] )?([\s\S]*?)(?: at file:\/\/\S*?:(\d+):(\d+))?$/.exec(message)!;
    const line = place[2] ? Number(place[2]) - 1 : firstBadLine(code);
    throw new FlowError("script.syntax", clean(place[1]!), {
      position: { file: "", line, column: Number(place[3] ?? 1) },
      cause,
    });
  }
}

/** The stripper reads modules, where a bare `return` would be an error. */
const HEAD = "async function script(event, ctx) {\n";
const TAIL = "\n}";
const wrap = (code: string) => HEAD + code + TAIL;
const unwrap = (code: string) => code.slice(HEAD.length, code.length - TAIL.length);

/** The stripper does not say where: the shortest beginning in whole lines that cannot be mended. */
function firstBadLine(code: string): number {
  const { stripTypeScriptTypes } = builtin("node:module");
  const { tokens } = lex(code);
  let depth = 0;
  let line = 1;
  for (const token of tokens) {
    if ("([{".includes(token.text)) depth++;
    if (")]}".includes(token.text)) depth--;
    if (depth !== 0 || (token.text !== ";" && token.text !== "}")) continue;
    try {
      stripTypeScriptTypes(wrap(code.slice(0, token.end)));
      line = lineOf(code, token.end + code.slice(token.end).search(/\S|$/));
    } catch {
      return line;
    }
  }
  return line;
}

function lineOf(code: string, offset: number): number {
  return code.slice(0, offset).split("\n").length;
}

function clean(message: string): string {
  const text = message.trim().replace(/\.$/, "");
  return text === "Syntax error" ? "The script is not valid TypeScript" : text;
}
