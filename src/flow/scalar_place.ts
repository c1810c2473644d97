/**
 * Where a place inside a scalar's value stands in the YAML text. Values differ from their text by
 * indentation, folding, quotes and escapes, so both are walked side by side as runs of characters that
 * stand next to each other in value and file. See https://yaml.org/spec/1.2.2/#chapter-6 on folding.
 */

export type ScalarStyle = "literal" | "folded" | "double" | "single" | "plain";

/** Characters of the value's line `line` from `column` on, and where they begin in the file's text. */
interface Run {
  line: number;
  column: number;
  offset: number;
}

/**
 * The offset in `text` of line and column (from 1) of the value.
 *
 * @param start Offset of the scalar's first character: `|`, `>`, a quote, or plain text.
 * @param end Offset behind its last character.
 */
export function offsetInScalar(
  text: string,
  start: number,
  end: number,
  style: ScalarStyle,
  line: number,
  column: number,
): number {
  const source = text.slice(start, end);
  const runs = style === "literal" || style === "folded"
    ? blockRuns(source, style === "folded")
    : flowRuns(source, style);
  let best: Run | undefined;
  for (const run of runs) {
    if (run.line > line || (run.line === line && run.column > column)) break;
    best = run;
  }
  if (!best) return start;
  const offset = start + best.offset + (best.line === line ? column - best.column : 0);
  return Math.min(offset, Math.max(start, end));
}

function* blockRuns(source: string, folded: boolean): Generator<Run> {
  const lines = linesOf(source);
  const header = lines.next().value!;
  const body = [...lines];
  const explicit = /^[|>][-+]?([1-9])/.exec(header.text)?.[1];
  const indents = body.filter((one) => one.text.trim() !== "")
    .map((one) => one.text.length - one.text.trimStart().length);
  // An explicit indicator counts from the parent, which the text alone does not show; the least
  // indented line is the same unless every line is indented further on purpose.
  const indent = explicit ? Math.min(...indents, Infinity) : indents[0] ?? 0;
  let line = 1;
  let column = 1;
  let blanks = 0;
  let before: "none" | "text" | "more" = "none";
  for (const { text, offset } of body) {
    if (!folded) {
      yield { line: line++, column: 1, offset: offset + Math.min(indent, text.length) };
      continue;
    }
    if (text.trim() === "") {
      blanks++;
      continue;
    }
    const content = text.slice(indent);
    const more = /^[ \t]/.test(content);
    if (before === "none") line += blanks;
    else if (more || before === "more") [line, column] = [line + 1 + blanks, 1];
    else if (blanks > 0) [line, column] = [line + blanks, 1];
    else column++; // the fold itself, a space in the value
    yield { line, column, offset: offset + indent };
    column += content.length;
    blanks = 0;
    before = more ? "more" : "text";
  }
}

function* flowRuns(source: string, style: ScalarStyle): Generator<Run> {
  const quoted = style === "double" || style === "single";
  let at = quoted ? 1 : 0;
  const end = quoted ? source.length - 1 : source.length;
  let line = 1;
  let column = 1;
  yield { line, column, offset: at };
  while (at < end) {
    const fold = /[ \t]*(?:\r?\n[ \t]*)+/y;
    fold.lastIndex = at;
    const folded = fold.exec(source);
    if (folded) {
      const breaks = folded[0].split("\n").length - 1;
      at += folded[0].length;
      if (breaks > 1) [line, column] = [line + breaks - 1, 1];
      else column++;
      yield { line, column, offset: at };
    } else if (style === "double" && source[at] === "\\") {
      const escape = /\\(?:x.{2}|u.{4}|U.{8}|\r?\n[ \t]*|[^])/y;
      escape.lastIndex = at;
      const found = escape.exec(source)![0];
      at += found.length;
      if (found === "\\n") [line, column] = [line + 1, 1];
      else if (!/^\\\r?\n/.test(found)) column++;
      yield { line, column, offset: at };
    } else if (style === "single" && source.startsWith("''", at)) {
      at += 2;
      column++;
      yield { line, column, offset: at };
    } else {
      at++;
      column++;
    }
  }
}

function* linesOf(text: string): Generator<{ text: string; offset: number }, undefined> {
  let offset = 0;
  for (const line of text.split("\n")) {
    yield { text: line, offset };
    offset += line.length + 1;
  }
}
