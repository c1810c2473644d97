/**
 * Building blocks for the `config` of task definitions and for config.yaml. Each is a valibot schema;
 * what a person may write and what the code receives stand in its description.
 */
import * as v from "valibot";
import { parseDuration } from "../core/duration.ts";
import { FlowError } from "../core/errors.ts";
import type { Json } from "./event.ts";
import {
  castBoolean,
  castNumber,
  castText,
  constantField,
  type Field,
  jsonField,
  textField,
} from "./field.ts";
import { ResourceRef } from "./resource.ts";

/** Turns what `read` throws into a finding of the schema, with its hint. */
function reading<I, O>(read: (input: I) => O) {
  return v.rawTransform<I, O>(({ dataset, addIssue, NEVER }) => {
    try {
      return read(dataset.value);
    } catch (cause) {
      if (!(cause instanceof FlowError)) throw cause;
      addIssue({ message: cause.hint ? `${cause.message}\nhint: ${cause.hint}` : cause.message });
      return NEVER;
    }
  });
}

/** Text such as `30s`, `500ms` or `1h 30m`; milliseconds in code. */
export const Duration = v.pipe(
  v.string('Expected a duration such as "30s"'),
  reading(parseDuration),
);

const SIZE = /^(\d+(?:\.\d+)?)\s*(B|KB|MB|GB|KiB|MiB|GiB)?$/;
const SIZE_UNITS: Record<string, number> = {
  B: 1,
  KB: 1e3,
  MB: 1e6,
  GB: 1e9,
  KiB: 1024,
  MiB: 1024 ** 2,
  GiB: 1024 ** 3,
};

/** A whole number of bytes, or text such as `64MiB`; bytes in code. */
export const ByteSize = v.union([
  v.pipe(v.number(), v.integer(), v.minValue(0)),
  v.pipe(
    v.string(),
    v.regex(SIZE, 'Expected a size such as 1048576 or "64MiB"'),
    v.transform((text) => {
      const [, number, unit] = SIZE.exec(text)!;
      return Math.floor(Number(number) * SIZE_UNITS[unit ?? "B"]!);
    }),
  ),
], 'Expected a size such as 1048576 or "64MiB"');

/** A whole number from 1. */
export const Count = v.pipe(v.number(), v.integer(), v.minValue(1));

/** Inline text, or `{ resource: "key" }`; `context.text()` gives the text of either. */
export const Text = v.union([
  v.string(),
  v.pipe(
    v.strictObject({ resource: v.pipe(v.string(), v.nonEmpty()) }),
    v.transform(({ resource }) => new ResourceRef(resource)),
  ),
], 'Expected text, or { resource: "path/to/file" }');

/** Any JSON value, taken as it is. */
export const AnyJson = v.custom<Json>((value) => value !== undefined, "Expected a value");

/** Text that may hold `{{event…}}`; `Field<string>` in code. */
export const TemplateText = v.pipe(
  v.string(),
  reading((text: string): Field<string> => textField(text, castText)),
);

/** A number, or a template that gives one; `Field<number>` in code. */
export const TemplateNumber = v.pipe(
  v.union([v.number(), v.string()], "Expected a number or a template"),
  reading((value: number | string): Field<number> =>
    typeof value === "number" ? constantField(value) : textField(value, castNumber)
  ),
);

/** `true`, `false`, or a template that gives one of them; `Field<boolean>` in code. */
export const TemplateBoolean = v.pipe(
  v.union([v.boolean(), v.string()], "Expected true, false or a template"),
  reading((value: boolean | string): Field<boolean> =>
    typeof value === "boolean" ? constantField(value) : textField(value, castBoolean)
  ),
);

/** Any JSON value whose texts may be templates; `Field<Json>` in code. */
export const TemplateJson = v.pipe(AnyJson, reading((tree: Json): Field<Json> => jsonField(tree)));

/** Text by name, each a template; `Record<string, Field<string>>` in code. Numbers become text. */
export const TemplateMap = v.record(
  v.string(),
  v.pipe(
    v.union([v.string(), v.number(), v.boolean()], "Expected text"),
    reading((value: string | number | boolean): Field<string> =>
      typeof value === "string" ? textField(value, castText) : constantField(String(value))
    ),
  ),
);

/** What keeps a task's attempts apart; `max_attempts: null` means without end. */
export const RetryPolicy = v.strictObject({
  max_attempts: v.optional(v.nullable(v.pipe(v.number(), v.integer(), v.minValue(0))), 10),
  initial_backoff: v.optional(Duration, "1s"),
  max_backoff: v.optional(Duration, "5m"),
});
export type RetryPolicy = v.InferOutput<typeof RetryPolicy>;
