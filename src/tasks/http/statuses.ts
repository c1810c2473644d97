import * as v from "valibot";

const RANGE = /^([1-5]\d\d)\.\.([1-5]\d\d)$/;

/** A list of statuses and ranges such as `[429, "500..599"]`; a test in code. */
export const Statuses = v.pipe(
  v.array(
    v.union([
      v.pipe(v.number(), v.integer(), v.minValue(100), v.maxValue(599)),
      v.pipe(v.string(), v.regex(RANGE)),
    ], 'Expected a status such as 429, or a range such as "500..599"'),
  ),
  v.transform((list) => {
    const ranges = list.map((one) => {
      const [, from, to] = typeof one === "number" ? [0, one, one] : RANGE.exec(one)!;
      return { from: Number(from), to: Number(to) };
    });
    return (status: number) => ranges.some(({ from, to }) => status >= from && status <= to);
  }),
);
