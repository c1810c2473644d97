/** Versions as people see them: the start of a commit's id or of a digest, which commands take too. */
export function shortVersion(version: string): string {
  const [algorithm] = /^[a-z0-9]+:/.exec(version) ?? [""];
  return version.slice(0, algorithm.length + 12);
}
