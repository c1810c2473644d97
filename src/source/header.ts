/** Letters of a header that are looked at; servers that mean well send a few hundred. */
const LONGEST = 8_192;

/**
 * A header to read with a pattern: the time that takes may grow with the square of the length, which is
 * up to the server.
 */
export function headerText(header: string | null): string {
  return (header ?? "").slice(0, LONGEST);
}
