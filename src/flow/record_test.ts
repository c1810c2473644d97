import assert from "node:assert/strict";
import * as v from "valibot";
import { decodeRecord, encodeRecord } from "./record.ts";

const bytes = (text: string) => new TextEncoder().encode(text);

Deno.test("a record carries its format version and comes back without it", () => {
  const written = encodeRecord({ node: "a", epoch: 7 });
  assert.equal(new TextDecoder().decode(written), '{"v":1,"node":"a","epoch":7}');
  assert.deepEqual(decodeRecord(written), { node: "a", epoch: 7 });
});

Deno.test("a record read with a schema has the schema's type", () => {
  const schema = v.object({ tick: v.number() });
  const { tick } = decodeRecord(encodeRecord({ tick: 5 }), schema);
  assert.equal(tick + 1, 6);
  const wrong = () => decodeRecord(encodeRecord({ tick: "5" }), schema);
  assert.throws(wrong, { code: "store.record_invalid" });
});

Deno.test("a record of a newer format is refused, not misread", () => {
  assert.throws(() => decodeRecord(bytes('{"v":2,"node":"a"}')), { code: "store.record_newer" });
});

Deno.test("a record that is no JSON object with a version is refused", () => {
  for (const text of ["", "{", "[]", "null", '"v"', "{}", '{"v":"1"}']) {
    assert.throws(() => decodeRecord(bytes(text)), { code: "store.record_invalid" }, text);
  }
  assert.throws(() => decodeRecord(new Uint8Array([0xff])), { code: "store.record_invalid" });
});
