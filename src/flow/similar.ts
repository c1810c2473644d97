/** Single-letter edits (insert, remove, replace) that turn one text into the other. */
export function distance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      const replaced = row[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1);
      next.push(Math.min(replaced, row[j]! + 1, next[j - 1]! + 1));
    }
    row = next;
  }
  return row[b.length]!;
}

/** The name that was probably meant, or `undefined` when none is near enough to suggest. */
export function nearest(word: string, names: Iterable<string>): string | undefined {
  // Longer words allow more slips; beyond that a suggestion misleads more often than it helps.
  const limit = word.length <= 3 ? 1 : word.length <= 7 ? 2 : 3;
  let best: string | undefined;
  let bestDistance = limit + 1;
  for (const name of names) {
    if (Math.abs(name.length - word.length) > limit) continue;
    const far = distance(word.toLowerCase(), name.toLowerCase());
    if (far < bestDistance) [best, bestDistance] = [name, far];
  }
  return best;
}

/** `did you mean "max_age"?`, or `undefined`. */
export function didYouMean(word: string, names: Iterable<string>): string | undefined {
  const near = nearest(word, names);
  return near === undefined ? undefined : `did you mean "${near}"?`;
}

/** `"a", "b"` for messages; a long list ends with how many more there are. */
export function quoteList(names: readonly string[], most = 30): string {
  const shown = names.slice(0, most).map((name) => `"${name}"`).join(", ");
  return names.length > most ? `${shown} and ${names.length - most} more` : shown;
}
