import assert from "node:assert/strict";
import { sha256Hex } from "./digest.ts";

Deno.test("text and its UTF-8 bytes have one digest", async () => {
  // From FIPS 180-2, appendix B.
  const abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
  assert.equal(await sha256Hex("abc"), abc);
  assert.equal(await sha256Hex(new Uint8Array([0x61, 0x62, 0x63])), abc);
  assert.equal(await sha256Hex("é"), await sha256Hex(new Uint8Array([0xc3, 0xa9])));
});
