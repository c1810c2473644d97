/** `1 file`, `2 files`. */
export function count(number: number, thing: string): string {
  return `${number} ${thing}${number === 1 ? "" : "s"}`;
}

/** Every line two columns to the right. */
export function indented(text: string): string {
  return text.replaceAll(/^/gm, "  ");
}

/** Of each column, by its longest cell. */
export function widthsOf(rows: readonly (readonly string[])[]): number[] {
  return rows[0]!.map((_, at) => Math.max(...rows.map((row) => row[at]!.length)));
}

/** One row of a table. */
export function aligned(cells: readonly string[], widths: readonly number[]): string {
  return cells.map((cell, at) => cell.padEnd(widths[at]!)).join("  ").trimEnd();
}

/** The end of a node's id, where ids made at the same time differ. */
export function shortNode(id: string | null | undefined): string {
  return id ? id.slice(-8) : "-";
}
