import assert from "node:assert/strict";
import { deflateSync } from "node:zlib";
import { type GitObject, idOf, SHA1 } from "./objects.ts";
import { turn } from "../../core/clock.ts";
import { MissingBase, type PackOptions, readPack } from "./pack.ts";
import { encodeHeader, join, makeDelta, makePack, text, withChecksum } from "./testing.ts";

const read = (pack: Uint8Array, options: Partial<PackOptions> = {}) =>
  readPack(pack, { format: SHA1, maxBytes: 100_000, maxObjects: 100_000, ...options });
const blob = (content: string): GitObject => ({ type: "blob", data: text(content) });
const texts = (objects: ReadonlyMap<string, GitObject>) =>
  [...objects.values()].map(({ data }) => new TextDecoder().decode(data)).sort();

Deno.test("objects are found under the ids that their content gives", async () => {
  const objects = await read(makePack([blob("hello\n"), { type: "tree", data: new Uint8Array() }]));
  assert.deepEqual([...objects.keys()], [
    "ce013625030ba8dba906f756967f9e9ca394464a", // as `git hash-object` says
    "4b825dc642cb6eb9a060e54bf8d69288fbee4904",
  ]);
});

Deno.test("deltas are taken from bases before and after them, and keep their base's type", async () => {
  const base = blob("0123456789");
  const id = idOf(base, SHA1);
  const middle = blob("01234");
  const objects = await read(makePack([
    { type: "ref", base: idOf(middle, SHA1), data: makeDelta(5, 3, [[0, 3]]) },
    { type: "ref", base: id, data: makeDelta(10, 5, [[0, 5]]) },
    { type: "offset", back: 2, data: makeDelta(3, 2, [[0, 2]]) },
    base,
    { type: "offset", back: 1, data: makeDelta(10, 4, [[6, 4]]) },
  ]));
  assert.deepEqual(texts(objects), ["01", "012", "01234", "0123456789", "6789"]);
  assert.ok([...objects.values()].every(({ type }) => type === "blob"));
});

Deno.test("a chain of deltas may be as long as the pack", async () => {
  const step = (i: number) => ({
    type: "ref" as const,
    base: idOf(blob(`${i}`.padStart(5, "0")), SHA1),
    data: makeDelta(5, 5, [text(`${i + 1}`.padStart(5, "0"))]),
  });
  const steps = Array.from({ length: 20_000 }, (_, i) => step(i)).reverse();
  assert.equal((await read(makePack([...steps, blob("00000")]), { maxBytes: 1e7 })).size, 20_001);
});

Deno.test("a thin pack's deltas are taken from known objects", async () => {
  const base = blob("0123456789");
  const known = new Map([[idOf(base, SHA1), base]]);
  const pack = makePack([
    { type: "ref", base: idOf(base, SHA1), data: makeDelta(10, 1, [[4, 1]]) },
  ]);
  assert.deepEqual(texts(await read(pack, { known })), ["4"]);
  await assert.rejects(() => read(pack), MissingBase);
});

Deno.test("what is damaged is refused, and says where", async () => {
  const good = makePack([blob("hello")]);
  const again = (pack: Uint8Array) => withChecksum(pack.subarray(0, -20));
  const body = (...parts: Uint8Array[]) => withChecksum(join(good.subarray(0, 12), ...parts));
  const packed = new Uint8Array(deflateSync(text("hello")));
  const wrong: [Uint8Array, string][] = [
    [good.subarray(0, 20), "the pack is cut off"],
    [good.with(15, good[15]! ^ 1), "the pack's checksum does not fit"],
    [again(good.with(0, 0)), "what the server sent is no pack"],
    [again(good.with(7, 3)), "packs of version 3 are unknown"],
    [makePack([blob("hello")], 2), "the pack is cut off"],
    [makePack([blob("hello"), blob("more")], 1), "the pack holds more than it says"],
    [body(encodeHeader(5, 5), packed), "there is an object of type 5"],
    [body(encodeHeader(3, 3), packed), "an object cannot be unpacked"],
    [body(encodeHeader(3, 4), packed), "an object has another size than announced"],
    [body(encodeHeader(3, 6), packed), "an object has another size than announced"],
    [body(encodeHeader(3, 5), packed.subarray(0, -5)), "an object cannot be unpacked"],
    [body(encodeHeader(3, 5), packed.with(3, 0xff)), "an object cannot be unpacked"],
    [body(new Uint8Array(12).fill(0xff)), "an object has no size"],
    [body(new Uint8Array([0x65, 0xff, 0xff, 0x7f])), "a delta's base lies in front of the pack"],
  ];
  for (const [pack, reason] of wrong) {
    await assert.rejects(() => read(pack), {
      code: "source.corrupt",
      message: `Cannot read the repository's objects: ${reason}`,
    }, reason);
  }
});

Deno.test("an object that would take too much room is refused by its announced size", async () => {
  const told = {
    code: "source.too_large",
    message: "Cannot read the commit: it has more than 100 bytes",
    hint: "raise max_total_size, or keep large files in another repository",
  };
  const hundred = makePack([blob("x".repeat(50)), blob("y".repeat(50))]);
  assert.equal((await read(hundred, { maxBytes: 100 })).size, 2);
  await assert.rejects(() => read(hundred, { maxBytes: 99 }), { code: "source.too_large" });
  const announced = withChecksum(join(
    makePack([], 1).subarray(0, 12),
    encodeHeader(3, 2 ** 40), // a terabyte
    new Uint8Array(deflateSync(text("x"))),
  ));
  await assert.rejects(() => read(announced, { maxBytes: 100 }), told);
  const base = blob("x".repeat(40));
  const bomb = makeDelta(40, 2 ** 40, [[0, 40]]);
  const pack = makePack([base, { type: "offset", back: 1, data: bomb }]);
  await assert.rejects(() => read(pack, { maxBytes: 100 }), told);
});

Deno.test("too many objects are refused by their announced number", async () => {
  await assert.rejects(() => read(makePack([], 0xffffffff), { maxObjects: 10 }), {
    code: "source.too_large",
    message: "Cannot read the commit: it has more than 10 objects",
    hint: "raise max_files, or keep other files in another repository",
  });
});

Deno.test("others get turns while a large pack is unpacked", async () => {
  let turns = 0;
  let over = false;
  const others = (async () => {
    for (; !over; turns++) await turn();
  })();
  await read(makePack(Array.from({ length: 2_000 }, (_, i) => blob(`${i}`))));
  over = true;
  await others;
  assert.ok(turns >= 7, `${turns} turns`);
});
