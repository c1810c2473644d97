import assert from "node:assert/strict";
import fc from "fast-check";
import { encodePackets, PacketReader } from "./pkt_line.ts";
import { text } from "./testing.ts";

async function* cut(data: Uint8Array, sizes: readonly number[]): AsyncGenerator<Uint8Array> {
  let at = 0;
  for (const size of sizes) {
    yield data.subarray(at, at + size);
    at += size;
  }
  yield data.subarray(at);
}

const read = (content: string) => new PacketReader(cut(text(content), []));

Deno.test("packets are the same wherever chunks are cut", async () => {
  const given = ["one", { marker: "delimiter" }, "ü", "", { marker: "flush" }] as const;
  const data = encodePackets(given);
  assert.equal(new TextDecoder().decode(data), "0008one\n00010007ü\n0005\n0000");
  await fc.assert(fc.asyncProperty(fc.array(fc.nat(6)), async (sizes) => {
    const packets = new PacketReader(cut(data, sizes));
    const seen = [];
    for (let one; (one = await packets.nextLine()) !== null;) seen.push(one);
    assert.deepEqual(seen, ["one", "delimiter", "ü", "", "flush"]);
  }));
});

Deno.test("an empty packet is data, and what follows is read", async () => {
  const packets = read("00040006a\n");
  assert.deepEqual(await packets.next(), new Uint8Array());
  assert.equal(await packets.nextLine(), "a");
  assert.equal(await packets.next(), null);
});

Deno.test("a stream that ends inside a packet, or is none, is told", async () => {
  const ended = { message: "its answer ended too early" };
  await assert.rejects(read("00").next(), ended);
  await assert.rejects(read("0008on").next(), ended);
  await assert.rejects(read("0008one\n").lines(100), ended);
  for (const strange of ["<!doctype html>", "0003", "-001", "0x10"]) {
    await assert.rejects(read(strange).next(), { message: "its answer is not made of packets" });
  }
});

Deno.test("a list longer than allowed is not read to its end", async () => {
  await assert.rejects(read("0008one\n0008two\n0000").lines(5), {
    message: "its answer is longer than any list of branches and tags",
  });
  // Nothing but empty lines is a list without end too.
  await assert.rejects(read("0004".repeat(100)).lines(300), {
    message: "its answer is longer than any list of branches and tags",
  });
});

Deno.test("what a server says in place of an answer", async () => {
  await assert.rejects(read("000eERR no way").next(), { message: "no way" });
});
