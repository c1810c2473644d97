import assert from "node:assert/strict";
import * as v from "valibot";
import { checkValue } from "./check.ts";
import { listedEnv, substituteEnv, wholeEnv } from "./env.ts";
import type { Field } from "./field.ts";
import { Duration, TemplateJson, TemplateText } from "./schema.ts";
import { testEvent } from "./testing.ts";

const variables: Record<string, string> = {
  NAME: "orders",
  PORT: "8080",
  ON: "true",
  LIST: "a, b",
  EVIL: "{{event.data.secret}}",
  OPEN: "{",
  JSON: '{"a":{"b":1}}',
  EMPTY: "",
};
const env = wholeEnv((name) => variables[name]);

function read<S extends v.GenericSchema>(schema: S, value: unknown): v.InferOutput<S> {
  const filled = substituteEnv(value, env);
  const checked = checkValue(schema, filled.value, { env: filled });
  assert.ok(checked.ok, checked.ok ? "" : checked.findings[0]?.message);
  return checked.output;
}

const event = testEvent({ secret: "told", x: "X" });
const at = (field: Field<unknown>) => field.at(event);

Deno.test("variables are filled in anywhere, and what has none is shared", () => {
  const shared = { deep: [1, "x"] };
  const filled = substituteEnv({ a: ["<{{env.NAME}}|{{ env.PORT }}>"], shared }, env);
  assert.deepEqual(filled.value, { a: ["<orders|8080>"], shared });
  assert.equal((filled.value as { shared: unknown }).shared, shared);
  assert.deepEqual([...filled.used.keys()], ["NAME", "PORT"]);
});

Deno.test("a variable alone becomes a number, a flag or a list where text is refused", () => {
  const schema = v.strictObject({
    port: v.number(),
    on: v.optional(v.boolean()),
    list: v.array(v.string()),
    text: v.string(),
    wait: Duration,
  });
  variables.WAIT = "5s";
  assert.deepEqual(
    read(schema, {
      port: "{{env.PORT}}",
      on: "{{env.ON}}",
      list: "{{env.LIST}}",
      text: "{{env.PORT}}",
      wait: "{{env.WAIT}}",
    }),
    { port: 8080, on: true, list: ["a", "b"], text: "8080", wait: 5000 },
  );
});

Deno.test("what a variable holds is never read as a template", () => {
  assert.equal(at(read(TemplateText, "{{env.EVIL}}")), "{{event.data.secret}}");
  assert.equal(at(read(TemplateText, "{{event.data.x}}{{env.EVIL}}")), "X{{event.data.secret}}");
  assert.deepEqual(at(read(TemplateJson, { a: "{{env.EVIL}}", b: "{{event.data.x}}" })), {
    a: "{{event.data.secret}}",
    b: "X",
  });
  assert.equal(at(read(TemplateText, "{{env.JSON}}")), '{"a":{"b":1}}');
  assert.deepEqual(read(v.strictObject({ a: v.array(v.string()) }), { a: ["{{env.EVIL}}"] }), {
    a: ["{{event.data.secret}}"],
  });
});

Deno.test("a brace of a variable and one of the file do not make a placeholder together", () => {
  assert.equal(at(read(TemplateText, "{{env.OPEN}}{event.data.secret}}")), "{{event.data.secret}}");
  assert.equal(at(read(TemplateText, "{{env.OPEN}}{{event.data.x}}")), "{X");
  assert.equal(
    at(read(TemplateText, "{{env.OPEN}}{{env.OPEN}}event.data.secret}}")),
    "{{event.data.secret}}",
  );
});

Deno.test("an empty variable is set", () => {
  assert.equal(read(v.string(), "<{{env.EMPTY}}>"), "<>");
});

Deno.test("a missing variable is told once, and forbidden ones are not read", () => {
  const filled = substituteEnv({ port: "{{env.NOPE}}" }, env);
  assert.deepEqual(filled.findings.map(({ code }) => code), ["config.env_missing"]);
  const checked = checkValue(v.strictObject({ port: v.number() }), filled.value, { env: filled });
  assert.deepEqual(checked, { ok: false, findings: [] });

  const read: string[] = [];
  const listed = listedEnv((name) => (read.push(name), variables[name]), ["NAME"]);
  const some = substituteEnv(["{{env.NAME}}", "{{env.PORT}}"], listed);
  assert.deepEqual(some.findings.map(({ code }) => code), ["config.env_not_allowed"]);
  assert.deepEqual(read, ["NAME"]);
});

Deno.test("a value from the environment stands in no message", () => {
  variables.SECRET = "hunter2-hunter2";
  const filled = substituteEnv({ wait: "{{env.SECRET}}", size: "x{{env.SECRET}}" }, env);
  const schema = v.strictObject({ wait: Duration, size: v.number() });
  const checked = checkValue(schema, filled.value, { env: filled });
  assert.ok(!checked.ok);
  assert.deepEqual(checked.findings.map(({ message }) => message), [
    'Cannot read a duration from "{{env.SECRET}}"',
    'Expected a number for "size", got text from {{env.SECRET}}',
  ]);
});
