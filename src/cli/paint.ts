const CODES = { bold: 1, dim: 2, red: 31, green: 32, yellow: 33, cyan: 36 };

/** Colours; each function gives its text back unchanged where there is nobody to see them. */
export type Paint = Readonly<Record<keyof typeof CODES, (text: string) => string>>;

export function paintFor(stream: { isTerminal(): boolean }): Paint {
  const on = stream.isTerminal() && !Deno.noColor;
  const entries = Object.entries(CODES).map(([name, code]) =>
    [name, (text: string) => on && text !== "" ? `\x1b[${code}m${text}\x1b[0m` : text] as const
  );
  return Object.fromEntries(entries) as Paint;
}
