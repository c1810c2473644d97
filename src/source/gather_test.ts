import assert from "node:assert/strict";
import fc from "fast-check";
import { Gatherer } from "./gather.ts";

Deno.test("pieces become one, whatever was expected", () => {
  fc.assert(fc.property(fc.array(fc.uint8Array()), fc.nat(50), (pieces, expected) => {
    const gathered = new Gatherer(expected);
    for (const piece of pieces) gathered.add(piece);
    assert.equal(gathered.length, pieces.flatMap((piece) => [...piece]).length);
    assert.deepEqual([...gathered.whole()], pieces.flatMap((piece) => [...piece]));
  }));
});

Deno.test("what is handed out keeps no more than an eighth beside itself", () => {
  const gathered = new Gatherer();
  for (let size = 0; size < 70_000; size += 7) gathered.add(new Uint8Array(7));
  const { length, buffer } = gathered.whole();
  assert.equal(length, 70_000);
  assert.ok(buffer.byteLength <= length * 9 / 8, `${buffer.byteLength}`);
});
