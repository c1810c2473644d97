// @ts-types="@types/semver"
import { compare, Range, SemVer } from "semver";
import { FlowError } from "../../core/errors.ts";
import type { Reference } from "./reference.ts";

/** Versions that an error names. */
const SHOWN = 5;

/**
 * The tag with the highest version that fits; a `v` in front is fine, and `_` stands for `+`, which tags
 * cannot have. Of two tags for one version the first by name is taken.
 *
 * @param range As npm has them: `^1.2`, `>=2 <3`, `1.x`; pre-releases only where the range names one.
 * @throws {FlowError} `source.ref_missing`, `source.reference_invalid`
 */
export function chooseTag(
  tags: readonly string[],
  range: string,
  { name }: Reference,
): string {
  let wanted: Range;
  try {
    wanted = new Range(range);
  } catch (cause) {
    throw new FlowError("source.reference_invalid", `Cannot use "${range}" as a version range`, {
      hint: "write it as for npm, such as ^1.2 or >=2 <3",
      cause,
    });
  }
  const versions = tags.toSorted().flatMap((tag) => {
    try {
      return [{ tag, version: new SemVer(tag.replace("_", "+")) }];
    } catch {
      return []; // names such as "latest"
    }
  }).sort((a, b) => compare(b.version, a.version));
  const best = versions.find(({ version }) => wanted.test(version));
  if (best) return best.tag;
  const known = versions.slice(0, SHOWN).map(({ tag }) => tag).join(", ");
  throw new FlowError("source.ref_missing", `No tag of ${name} fits the versions "${range}"`, {
    hint: known === ""
      ? `none of its ${tags.length} tags is a version such as 1.2.3`
      : `the highest there are ${known}`,
  });
}
