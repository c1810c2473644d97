/** Times for people to read: a line with the distribution. */

/** The time below which this share of all lies; times need not be sorted. */
export function percentile(times: readonly number[], share: number): number {
  const sorted = times.toSorted((a, b) => a - b);
  return sorted[Math.max(0, Math.ceil(sorted.length * share) - 1)] ?? NaN;
}

/** Such as `take-over: 6 times, p50 1.32 s, p99 1.62 s, most 1.62 s`. */
export function distribution(name: string, times: readonly number[]): string {
  const seconds = (share: number) => `${(percentile(times, share) / 1_000).toFixed(2)} s`;
  return `${name}: ${times.length} times, p50 ${seconds(0.5)}, p99 ${seconds(0.99)}, ` +
    `most ${seconds(1)}`;
}
