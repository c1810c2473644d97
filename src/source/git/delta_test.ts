import assert from "node:assert/strict";
import fc from "fast-check";
import { applyDelta } from "./delta.ts";
import { join, makeDelta, text } from "./testing.ts";

const base = text("0123456789");

Deno.test("a delta copies from its base and inserts new bytes", () => {
  const delta = makeDelta(10, 8, [[2, 3], text("ab"), [7, 3]]);
  assert.deepEqual(applyDelta(base, delta), text("234ab789"));
});

Deno.test("a copy without a size is 64 KiB long", () => {
  const large = new Uint8Array(0x10000).fill(7);
  const delta = join(makeDelta(0x10000, 0x10000, []), new Uint8Array([0x80]));
  assert.deepEqual(applyDelta(large, delta), large);
});

Deno.test("offsets and sizes of all lengths", () => {
  const large = new Uint8Array(200_000).map((_, at) => at % 251);
  fc.assert(fc.property(fc.nat(199_999), fc.integer({ min: 1, max: 70_000 }), (from, wanted) => {
    const size = Math.min(wanted, large.length - from);
    const delta = makeDelta(large.length, size, [[from, size]]);
    assert.deepEqual(applyDelta(large, delta), large.slice(from, from + size));
  }));
});

Deno.test("a delta that does not fit is refused", () => {
  const wrong: [Uint8Array, string][] = [
    [makeDelta(9, 1, [[0, 1]]), "a delta belongs to another object"],
    [makeDelta(10, 5, [[8, 5]]), "a delta points outside of its base"],
    [makeDelta(10, 2, [[0, 3]]), "a delta points outside of its base"],
    [makeDelta(10, 4, [[0, 3]]), "a delta is too short"],
    [makeDelta(10, 4, [text("abcd")]).subarray(0, -1), "a delta points outside of its base"],
    [makeDelta(10, 4, [[0, 4]]).subarray(0, -2), "a delta points outside of its base"],
    [join(makeDelta(10, 1, []), new Uint8Array([0])), "a delta points outside of its base"],
    [new Uint8Array([0x8a]), "a delta has no sizes"],
    [new Uint8Array(20).fill(0xff), "a delta has no sizes"],
  ];
  for (const [delta, reason] of wrong) {
    assert.throws(() => applyDelta(base, delta), {
      code: "source.corrupt",
      message: `Cannot read the repository's objects: ${reason}`,
    });
  }
});

Deno.test("no delta reads or writes outside, whatever it holds", () => {
  fc.assert(fc.property(fc.uint8Array({ maxLength: 40 }), (bytes) => {
    const delta = join(new Uint8Array([10, 20]), bytes);
    try {
      assert.equal(applyDelta(base, delta).length, 20);
    } catch (cause) {
      assert.equal((cause as { code?: string }).code, "source.corrupt");
    }
  }));
});
