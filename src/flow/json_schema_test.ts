import assert from "node:assert/strict";
import * as v from "valibot";
import { flowJsonSchema, jsonSchemaOf } from "./json_schema.ts";
import { ByteSize, Duration, TemplateMap } from "./schema.ts";
import { defineTask } from "./task.ts";

Deno.test("our own building blocks are what people write, with the field's description", async () => {
  const schema = v.strictObject({
    wait: v.optional(v.pipe(Duration, v.description("How long.")), "1s"),
    size: ByteSize,
    headers: TemplateMap,
  });
  const { properties, required } = await jsonSchemaOf(schema);
  assert.deepEqual(properties?.wait, {
    type: "string",
    description: "How long.",
    examples: ["30s"],
    default: "1s",
  });
  assert.deepEqual(required, ["size", "headers"]);
  assert.equal((properties?.headers as { type: string }).type, "object");
});

Deno.test("each task type is one alternative with its own and the common fields", async () => {
  const drop = defineTask({
    type: "drop",
    mode: "sync",
    summary: "Drops everything.",
    config: v.strictObject({ field: v.string() }),
    examples: [],
    create: () => () => {},
  });
  const text = JSON.stringify(await flowJsonSchema([drop]));
  assert.match(text, /"required":\["name","field"\]/);
  assert.match(text, /"depends_on"/);
  assert.doesNotMatch(text, /"max_in_flight"/);
});
