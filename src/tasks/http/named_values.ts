import type { Json } from "../../flow/event.ts";

/** Pairs as an object; a name that comes more than once gets the list of its values. */
export function namedValues(pairs: Iterable<readonly [string, Json]>): Record<string, Json> {
  const values = new Map<string, Json[]>();
  for (const [name, value] of pairs) {
    const list = values.get(name);
    if (list) list.push(value);
    else values.set(name, [value]);
  }
  // Not assigned one by one: `__proto__` may be among the names.
  return Object.fromEntries(
    Array.from(values, ([name, list]) => [name, list.length === 1 ? list[0]! : list]),
  );
}
