import assert from "node:assert/strict";
import { decodePayload, encodePayload, ownBytes } from "./payload.ts";

const bytes = (text: string) => new TextEncoder().encode(text);

Deno.test("auto takes JSON of any kind, and everything else as bytes", () => {
  for (const text of ['{"a":1}', " [1]", "-1.5", '"x"', "true", "null", "\n3"]) {
    assert.deepEqual(decodePayload("auto", bytes(text), "s"), JSON.parse(text));
  }
  for (const text of ["", "x", "tru", "{", "1 2", "<a/>"]) {
    assert.deepEqual(decodePayload("auto", bytes(text), "s"), bytes(text));
  }
});

Deno.test("text that is not UTF-8 is no JSON", () => {
  const broken = new Uint8Array([0x22, 0xff, 0x22]);
  assert.deepEqual(decodePayload("auto", broken, "s"), broken);
  assert.throws(() => decodePayload("json", broken, "s"), { code: "event.not_json" });
});

Deno.test("json refuses what is none, naming the subject and not the content", () => {
  assert.throws(() => decodePayload("json", bytes("secret"), "a.b"), {
    code: "event.not_json",
    message: 'Cannot read the message on "a.b" as JSON: 6 bytes of something else',
  });
});

Deno.test("bytes are taken as they are, apart from what came with them", () => {
  const chunk = bytes("xx{}yy");
  const part = chunk.subarray(2, 4);
  const data = decodePayload("bytes", part, "s") as Uint8Array;
  assert.deepEqual(data, bytes("{}"));
  assert.equal(data.buffer.byteLength, 2);
  const alone = bytes("a");
  assert.equal(ownBytes(alone.slice()).length, 1);
});

Deno.test("data goes out as compact JSON, bytes as they are", () => {
  assert.deepEqual(encodePayload({ a: [1, null] }), bytes('{"a":[1,null]}'));
  const raw = new Uint8Array([0, 255]);
  assert.equal(encodePayload(raw), raw);
});
