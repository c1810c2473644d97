import assert from "node:assert/strict";
import * as v from "valibot";
import { checkValue } from "./check.ts";
import { ByteSize, Text } from "./schema.ts";

const schema = v.strictObject({
  field: v.string(),
  max_age: v.optional(v.pipe(v.number(), v.integer(), v.minValue(1))),
  inner: v.optional(
    v.strictObject({ api_key: v.optional(v.number()), on: v.optional(v.boolean()) }),
  ),
  size: v.optional(ByteSize),
  sql: v.optional(Text),
  auth: v.optional(v.variant("type", [
    v.strictObject({ type: v.literal("basic"), user: v.string() }),
    v.strictObject({ type: v.literal("bearer"), jwt: v.string() }),
  ])),
});

function findings(value: unknown): string[] {
  const checked = checkValue(schema, value, { subject: 'task "t"', otherKeys: ["depends_on"] });
  if (checked.ok) return [];
  return checked.findings.map(({ code, message, hint }) =>
    [code, message, ...(hint ? [hint] : [])].join(" | ")
  );
}

Deno.test("all unknown keys of a map are told, with what was probably meant", () => {
  assert.deepEqual(findings({ field: "x", max_agee: 1, depend_on: [], zzz: 1 }), [
    'config.unknown_key | Unknown key "max_agee" in task "t": expected one of "field", "max_age", "inner", "size", "sql", "auth" | did you mean "max_age"?',
    'config.unknown_key | Unknown key "depend_on" in task "t": expected one of "field", "max_age", "inner", "size", "sql", "auth" | did you mean "depends_on"?',
    'config.unknown_key | Unknown key "zzz" in task "t": expected one of "field", "max_age", "inner", "size", "sql", "auth"',
  ]);
});

Deno.test("keys of the chosen variant are expected; a misspelt one is not missing as well", () => {
  assert.deepEqual(findings({ field: "x", auth: { type: "basic", usr: "me" } }), [
    'config.unknown_key | Unknown key "usr" in "auth" of task "t": expected one of "type", "user" | did you mean "user"?',
  ]);
  assert.deepEqual(findings({ field: "x", auth: { type: "basik" } }), [
    'config.invalid_value | Expected one of "basic", "bearer" for "type", got text "basik" | did you mean "basic"?',
  ]);
  assert.deepEqual(findings({ field: "x", auth: {} }), [
    'config.missing_key | Missing key "type" in "auth" of task "t" | expected one of "basic", "bearer"',
  ]);
});

Deno.test("wrong types and values say what was wanted and what was there", () => {
  assert.deepEqual(findings({ field: 5, max_age: "abc" }), [
    'config.wrong_type | Expected text for "field", got number 5 | write "5" in quotes',
    'config.wrong_type | Expected a whole number for "max_age", got text "abc"',
  ]);
  assert.deepEqual(findings({ field: null, max_age: 0.5 }), [
    'config.wrong_type | Expected text for "field", got nothing',
    'config.invalid_value | Expected a whole number for "max_age", got number 0.5',
  ]);
  assert.deepEqual(findings({ field: "", max_age: -1, size: "lots", sql: { resorce: "x" } }), [
    'config.invalid_value | Expected at least 1 for "max_age", got number -1',
    'config.invalid_value | Expected a size such as 1048576 or "64MiB" for "size", got text "lots"',
    'config.wrong_type | Expected text, or { resource: "path/to/file" } for "sql", got a map',
  ]);
});

Deno.test("a list is no map", () => {
  assert.deepEqual(findings([1]), ['config.wrong_type | Expected a map for task "t", got a list']);
  assert.deepEqual(findings({ field: "x", inner: ["a"] }), [
    'config.wrong_type | Expected a map for "inner", got a list',
  ]);
});

Deno.test("the value of every kind of secret is hidden, what a section holds beside it is not", () => {
  const names = [
    ...["authorization", "Proxy-Authorization", "x-auth", "auth", "bearer_auth", "Cookie"],
    ...["set-cookie", "passwd", "passphrase", "x-api-key", "private_key", "Bearer"],
  ];
  for (const name of names) {
    const headers = v.strictObject({ [name]: v.number(), author: v.number() });
    const checked = checkValue(headers, { [name]: "hunter2", author: "ada" });
    assert.deepEqual(checked.ok || checked.findings.map(({ message }) => message), [
      `Expected a number for "${name}", got text`,
      'Expected a number for "author", got text "ada"',
    ]);
  }
  assert.deepEqual(findings({ field: "x", auth: { type: "basic", user: 5 } }), [
    'config.wrong_type | Expected text for "user", got number 5 | write "5" in quotes',
  ]);
});

Deno.test("values of secret keys are not shown", () => {
  assert.deepEqual(findings({ field: "x", inner: { api_key: "hunter2", on: "no" } }), [
    'config.wrong_type | Expected a number for "api_key", got text',
    'config.wrong_type | Expected true or false for "on", got text "no" | write false, without quotes',
  ]);
});
