import type * as v from "valibot";

/** What valibot's schemas look like from outside; which fields there are depends on `type`. */
export interface SchemaNode {
  readonly kind: string;
  readonly type: string;
  readonly pipe?: readonly SchemaNode[];
  readonly wrapped?: SchemaNode;
  readonly entries?: Readonly<Record<string, SchemaNode>>;
  readonly options?: readonly unknown[];
  readonly item?: SchemaNode;
  readonly items?: readonly SchemaNode[];
  readonly rest?: SchemaNode;
  readonly value?: SchemaNode;
  readonly key?: unknown;
  readonly literal?: unknown;
  readonly getter?: (input: unknown) => SchemaNode;
}

/** One way to read a value: a schema without wrappers, and the actions of its pipe. */
export interface Way {
  readonly schema: SchemaNode;
  readonly actions: readonly SchemaNode[];
}

/** All ways to read what stands at `path` of `value`; findings are worded from them. */
export function waysAt(
  schema: v.GenericSchema,
  value: unknown,
  path: readonly (string | number)[],
): Way[] {
  let ways = unwrap(schema as unknown as SchemaNode, value);
  for (const step of path) {
    value = isObject(value) ? value[step] : undefined;
    ways = ways.flatMap(({ schema }) => {
      const inner = child(schema, step);
      return inner ? unwrap(inner, value) : [];
    });
  }
  return ways;
}

function child(schema: SchemaNode, step: string | number): SchemaNode | undefined {
  if (schema.entries) {
    return Object.hasOwn(schema.entries, step) ? schema.entries[step] : schema.rest;
  }
  if (schema.type === "record") return schema.value;
  return schema.item ?? schema.items?.[Number(step)] ?? schema.rest;
}

function unwrap(schema: SchemaNode, value: unknown, actions: readonly SchemaNode[] = []): Way[] {
  if (schema.pipe) {
    const [first, ...more] = schema.pipe;
    return unwrap(first!, value, [...more, ...actions]);
  }
  if (schema.wrapped) return unwrap(schema.wrapped, value, actions);
  if (schema.getter) return unwrap(schema.getter(value), value, actions);
  if (schema.type === "union" || schema.type === "intersect") {
    return (schema.options as SchemaNode[]).flatMap((option) => unwrap(option, value, actions));
  }
  if (schema.type === "variant") {
    const options = schema.options as SchemaNode[];
    const wanted = isObject(value) ? value[String(schema.key)] : undefined;
    const chosen = options.filter((option) =>
      choicesOf(unwrap(option.entries?.[String(schema.key)] ?? option, wanted))?.includes(wanted)
    );
    const fitting = chosen.length > 0 ? chosen : options;
    return fitting.flatMap((option) => unwrap(option, value, actions));
  }
  return [{ schema, actions }];
}

/** The values to choose from, where that is all there is. */
export function choicesOf(ways: readonly Way[]): unknown[] | undefined {
  const choices = ways.map(({ schema }) =>
    schema.type === "literal"
      ? [schema.literal]
      : schema.type === "picklist" || schema.type === "enum"
      ? schema.options
      : undefined
  );
  if (choices.length === 0 || choices.includes(undefined)) return undefined;
  return [...new Set(choices.flat())];
}

/** The keys that a map read in one of these ways may have. */
export function keysOf(ways: readonly Way[]): string[] {
  return [...new Set(ways.flatMap(({ schema }) => Object.keys(schema.entries ?? {})))];
}

export function isObject(value: unknown): value is Record<string | number, unknown> {
  return typeof value === "object" && value !== null;
}
