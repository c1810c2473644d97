/** Two or more sides that are measured in turns, so that each mood of the machine meets all of them. */

/** The middle one; of an even number the upper of both. */
export function median(figures: readonly number[]): number {
  return figures.toSorted((a, b) => a - b)[figures.length >> 1] ?? NaN;
}

/** Measures each side once in every round; the median of each, by its name. */
export async function inTurns<Name extends string>(
  rounds: number,
  sides: Readonly<Record<Name, () => Promise<number>>>,
): Promise<Record<Name, number>> {
  const names = Object.keys(sides) as Name[];
  const figures = Object.fromEntries(names.map((name) => [name, [] as number[]]));
  for (let round = 0; round < rounds; round++) {
    for (const name of names) figures[name]!.push(await sides[name]());
  }
  return Object.fromEntries(names.map((name) => [name, median(figures[name]!)])) as Record<
    Name,
    number
  >;
}

/** Milliseconds that `work` takes. */
export async function timed(work: () => Promise<unknown>): Promise<number> {
  const start = performance.now();
  await work();
  return performance.now() - start;
}
