/** Control characters of ASCII and Latin-1 (C0, DEL, C1): they move cursors, recolour and retitle. */
// deno-lint-ignore no-control-regex
const CONTROL = /[\x00-\x1f\x7f-\x9f]/g;
// deno-lint-ignore no-control-regex
const CONTROL_IN_LINES = /[\x00-\x09\x0b-\x1f\x7f-\x9f]/g;

/** Text from outside for a person's terminal: what would steer it, or begin a new line, is spelt out. */
export function visible(text: string): string {
  return text.replace(CONTROL, spelt);
}

/** The same for our own text of several lines: they stay lines. */
export function visibleLines(text: string): string {
  return text.replace(CONTROL_IN_LINES, spelt);
}

export function hasControl(text: string): boolean {
  return text.search(CONTROL) >= 0;
}

const NAMED: Record<string, string> = { "\n": "\\n", "\r": "\\r", "\t": "\\t" };

function spelt(character: string): string {
  return NAMED[character] ?? `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`;
}
