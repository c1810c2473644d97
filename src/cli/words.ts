/** `1 file`, `2 files`. */
export function count(number: number, thing: string): string {
  return `${number} ${thing}${number === 1 ? "" : "s"}`;
}

/** Every line two columns to the right. */
export function indented(text: string): string {
  return text.replaceAll(/^/gm, "  ");
}
