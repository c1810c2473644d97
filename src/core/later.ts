/**
 * Imports a module of ours that most runs never need. With a literal in `import`, Deno reads the module
 * and all that it imports at every start; this way only where it is called.
 *
 * @param specifier Relative, such as `./git/git.ts`.
 * @param from `import.meta.url` of the caller.
 */
export function later<T>(specifier: string, from: string): Promise<T> {
  return import(new URL(specifier, from).href);
}
