import { helpers } from "./helpers.ts";
import { templateHelper } from "./template.ts";
import { yamlHelper } from "./yaml.ts";

/** What makes the functions every script can call by name; each becomes text inside the cage. */
export const HELPERS = [helpers, templateHelper, yamlHelper] as const;

/** All of them, for this isolate. */
export function makeHelpers(): Record<string, unknown> {
  return Object.assign({}, ...HELPERS.map((make) => make()));
}
