import { makeHelpers } from "./tools.ts";

/** Names every script knows besides `event` and `ctx`; each isolation prints in its own way. */
export const HELPER_NAMES: readonly string[] = ["print", "debug", ...Object.keys(makeHelpers())];

/**
 * Source of a factory that takes the helpers and gives the script as a function of `event` and `ctx`.
 * The body must have passed `prepare`. Its first line is line 2; `inside.lineOf` counts on that.
 */
export function wrapBody(body: string, isAsync: boolean): string {
  const head = isAsync ? "async function" : "function";
  return `(({${HELPER_NAMES.join(",")}}) => ${head} script(event, ctx) {"use strict";\n${body}\n})`;
}
