import { FlowError, type Position } from "../../core/errors.ts";
import { builtin } from "./builtin.ts";
import type { Token, Unterminated } from "./lexer.ts";

/**
 * A syntax error with its place. V8 tells Deno's code what is wrong but not where, so the place is
 * searched: the parser reads from left to right, thus the error comes back word for word for every
 * beginning of the script that holds the wrong token, and not before it.
 */
export function syntaxError(body: string, tokens: readonly Token[], message: string): FlowError {
  const complaint = complaintAbout(body);
  let low = 0;
  let high = tokens.length;
  if (complaint !== undefined && !/end of input/i.test(complaint)) {
    while (low < high) {
      const middle = (low + high) >> 1;
      if (complaintAbout(body.slice(0, tokens[middle]!.end)) === complaint) high = middle;
      else low = middle + 1;
    }
  } else {
    low = tokens.length;
  }
  const token = tokens[low];
  const atEnd = complaint === undefined || /end of input/i.test(complaint);
  const text = !atEnd
    ? complaint
    : /end of input|token '[)}\]]'/i.test(message)
    ? "Unexpected end of the script"
    : message;
  return failure(text, positionAt(body, token ? token.at : body.trimEnd().length));
}

export function unterminated(body: string, { what, at }: Unterminated): FlowError {
  return failure(`The ${what} that starts here has no end`, positionAt(body, at));
}

function failure(message: string, position: Position): FlowError {
  return new FlowError("script.syntax", `Cannot read the script: ${message}`, { position });
}

/** What V8 says about a beginning of the body; the wrapper stays open, and compiling runs nothing. */
function complaintAbout(beginning: string): string | undefined {
  try {
    new (builtin("node:vm").Script)(`(async function (event, ctx) {"use strict";\n${beginning}`);
    return undefined;
  } catch (cause) {
    return cause instanceof Error ? cause.message : String(cause);
  }
}

export function positionAt(text: string, offset: number): Position {
  const before = text.slice(0, offset);
  const line = before.split("\n").length;
  return { file: "", line, column: offset - (before.lastIndexOf("\n") + 1) + 1 };
}
