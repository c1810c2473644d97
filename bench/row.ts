/** One comparison with the platform's own limit, measured in the same run. */
export interface Row {
  readonly name: string;
  readonly ours: number;
  /** What the platform can do at most, or needs at least; NaN where there is nothing to compare with. */
  readonly raw: number;
  readonly unit: string;
  /**
   * For rates: the share of `raw` to reach. For times and sizes: the greatest multiple of `raw`, or
   * with a `raw` of NaN the greatest value.
   */
  readonly goal: number;
}

/** Units of which less is better. */
const COSTS = new Set(["ms", "µs", "s", "MB", "KB"]);

/** Whether a row reaches its goal. */
export function reached({ ours, raw, unit, goal }: Row): boolean {
  const figure = Number.isNaN(raw) ? ours : ours / raw;
  return COSTS.has(unit) ? figure <= goal : figure >= goal;
}
