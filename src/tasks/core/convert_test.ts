import assert from "node:assert/strict";
import * as v from "valibot";
import { runTask } from "../../flow/testing.ts";
import { convert } from "./convert.ts";
import { findingsOf } from "./testing.ts";

const bytes = (text: string) => new TextEncoder().encode(text);
const run = (target_format: string, data: unknown) =>
  runTask(convert, { config: { target_format }, input: [data] })[0];

Deno.test("convert to json parses bytes and text, and leaves other values as they are", () => {
  assert.deepEqual(run("json", bytes('{"a":[1,null]}')), { a: [1, null] });
  assert.deepEqual(run("json", '"text"'), "text");
  for (const value of [{ a: 1 }, [1], null, 7, true]) assert.deepEqual(run("json", value), value);
});

Deno.test("convert to json does not quote data it cannot parse", () => {
  for (const data of ["secret", bytes("secret"), "", bytes("")]) {
    assert.throws(() => run("json", data), {
      code: "convert.json_invalid",
      message: "Cannot read the data as JSON",
    });
  }
});

Deno.test("convert to text decodes bytes as UTF-8 and makes compact JSON of values", () => {
  assert.equal(run("text", bytes("grüße")), "grüße");
  assert.equal(run("text", { a: [1, "b"] }), '{"a":[1,"b"]}');
  assert.equal(run("text", null), "null");
});

Deno.test("convert to bytes encodes text as UTF-8 and values as JSON, and leaves bytes alone", () => {
  assert.deepEqual(run("bytes", "grüße"), bytes("grüße"));
  assert.deepEqual(run("bytes", [1]), bytes("[1]"));
  const raw = new Uint8Array([0xff, 0]);
  assert.equal(run("bytes", raw), raw);
});

Deno.test("convert refuses bytes that are not UTF-8 rather than replacing them", () => {
  for (const format of ["text", "json"]) {
    assert.throws(() => run(format, new Uint8Array([0xff])), { code: "convert.utf8_invalid" });
  }
});

Deno.test("convert says which formats are still to come, and which there are", () => {
  const issue = (target_format: string) =>
    v.safeParse(convert.config, { target_format }).issues?.[0].message;
  assert.equal(issue("avro"), 'The format "avro" is not available in this version');
  assert.equal(issue("xml"), 'Expected one of "json", "bytes", "text"');
});

Deno.test("convert refuses a schema for formats that have none", async () => {
  assert.deepEqual(await findingsOf(convert, { target_format: "json", schema: "{}" }), [
    'config.unused_key "schema" has no meaning with the format "json"',
  ]);
});
