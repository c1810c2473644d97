import assert from "node:assert/strict";
import { PacketReader } from "./pkt_line.ts";
import { readSideband } from "./remote.ts";
import { text } from "./testing.ts";

async function* chunks(content: string) {
  yield text(content);
}
const read = (content: string, maxBytes = 100) =>
  readSideband(new PacketReader(chunks(content)), maxBytes);

Deno.test("a pack comes in parts, with other words in between", async () => {
  assert.deepEqual(await read("0008\x01one0009\x02busy0008\x01two0000"), text("onetwo"));
});

Deno.test("a pack is not read further than it may be long", async () => {
  assert.deepEqual(await read("0008\x01one0008\x01two0000", 6), text("onetwo"));
  await assert.rejects(read("0008\x01one0008\x01two", 5), {
    code: "source.too_large",
    message: "Cannot read the commit: its pack is longer than 5 bytes",
    hint: "raise max_total_size, or keep large files in another repository",
  });
});

Deno.test("a server that gives up in the middle says why", async () => {
  await assert.rejects(read("0008\x01one000b\x03no luck"), { message: /^no luc/ });
  await assert.rejects(read("0008\x01one"), { message: "its answer ended too early" });
});
