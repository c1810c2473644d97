import { FlowError } from "../core/errors.ts";
import type { ErrorView } from "../core/errors.ts";
import type { Published } from "../flow/workspace.ts";
import { formatFindings } from "./output.ts";
import type { Paint } from "./paint.ts";
import { shortVersion } from "./version_text.ts";
import { visible } from "./visible.ts";
import { indented } from "./words.ts";

/** What became of a version, in words. */
export function publishedText(published: Published, paint: Paint): string {
  const { outcome, findings } = published;
  const workspace = visible(published.workspace);
  const version = visible(shortVersion(published.version)) || "nothing";
  const live = published.active === null
    ? "nothing is live"
    : `${visible(shortVersion(published.active))} is live`;
  switch (outcome) {
    case "activated":
      return paint.green(`${workspace}: ${version} is live now`);
    case "unchanged":
      return `${workspace}: nothing new, ${live}`;
    case "stale":
      return paint.yellow(`${workspace}: something else was published meanwhile, ${live}`);
    case "rejected":
      return [paint.red(`${workspace}: ${version} was rejected, ${live}`)]
        .concat(findingLines(findings, paint)).join("\n");
    case "held":
      return [paint.yellow(`${workspace}: ${version} is held, ${live}`)]
        .concat(findingLines(findings, paint))
        .concat(paint.dim(`--force activates what was rolled back, and checks again`)).join("\n");
  }
}

/** Findings of a version, below what is said of it. */
export function findingLines(findings: readonly ErrorView[], paint: Paint): string[] {
  return findings.map((one) =>
    indented(formatFindings([new FlowError(one.code, one.message, one)], paint))
  );
}
