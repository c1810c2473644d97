import { formatDuration } from "../core/duration.ts";
import { FlowError } from "../core/errors.ts";
import type { RuntimeStatus } from "../runtime.ts";
import { formatFindings } from "./output.ts";
import type { Paint } from "./paint.ts";
import { shortVersion } from "./version_text.ts";
import { visible } from "./visible.ts";
import { aligned, indented, widthsOf } from "./words.ts";

/** Sources and what they gave last; what is wrong with one stands below it. */
export function sourceTable(
  sources: RuntimeStatus["sources"],
  paint: Paint,
  /** Milliseconds since 1970. */
  now: number,
): string {
  const rows = sources.map(({ name, kind, version, checked, next, polls }) => [
    visible(name),
    kind,
    version === null ? "-" : visible(shortVersion(version)),
    checked === null
      ? polls ? "not yet" : "by another node"
      : `${formatDuration(seconds(now - Date.parse(checked)))} ago`,
    !polls ? "-" : next === null ? "now" : `in ${formatDuration(seconds(Date.parse(next) - now))}`,
  ]);
  const heads = ["SOURCE", "KIND", "VERSION", "CHECKED", "NEXT"];
  const widths = widthsOf([heads, ...rows]);
  return [
    paint.dim(aligned(heads, widths)),
    ...sources.flatMap(({ error }, at) => [
      aligned(rows[at]!, widths),
      ...(error
        ? [indented(formatFindings([new FlowError(error.code, error.message, error)], paint))]
        : []),
    ]),
  ].join("\n");
}

/** Whole ones, for it need not be exact. */
function seconds(ms: number): number {
  return Math.max(1, Math.round(ms / 1_000)) * 1_000;
}
