/** One comparison with the platform's own limit, measured in the same run. */
export interface Row {
  readonly name: string;
  /** NaN where it cannot be measured here. */
  readonly ours: number;
  /** What the platform can do at most, or needs at least; NaN where there is nothing to compare with. */
  readonly raw: number;
  readonly unit: "events/s" | "req/s" | "op/s" | "ms" | "µs" | "MB";
  /** `ratio`: of ours to raw. `value`: of ours. The least of a rate, the most of a time or size. */
  readonly goal: { readonly ratio: number } | { readonly value: number };
}

/** Units of which less is better. */
const COSTS: ReadonlySet<string> = new Set(["ms", "µs", "MB"]);

/** Whether a row reaches its goal; what could not be measured misses nothing. */
function reached({ ours, raw, unit, goal }: Row): boolean {
  const figure = "ratio" in goal ? ours / raw : ours;
  const wanted = "ratio" in goal ? goal.ratio : goal.value;
  return Number.isNaN(figure) || (COSTS.has(unit) ? figure <= wanted : figure >= wanted);
}

/** The rows as a Markdown table. */
export function table(rows: readonly Row[]): string {
  const lines = rows.map((row) => [
    row.name,
    `${figure(row.ours)} ${row.unit}`,
    Number.isNaN(row.raw) ? "–" : `${figure(row.raw)} ${row.unit}`,
    Number.isNaN(row.ours / row.raw) ? "–" : (row.ours / row.raw).toFixed(2),
    "ratio" in row.goal ? `ratio ${row.goal.ratio.toFixed(2)}` : figure(row.goal.value),
    reached(row) ? "yes" : "no",
  ]);
  const head = ["what", "ours", "raw", "ratio", "goal", "reached"];
  return [head, head.map(() => "---"), ...lines]
    .map((cells) => `| ${cells.join(" | ")} |`).join("\n");
}

function figure(value: number): string {
  if (Number.isNaN(value)) return "–";
  return value >= 1_000
    ? Math.round(value).toLocaleString("en")
    : String(Number(value.toPrecision(3)));
}
