import assert from "node:assert/strict";
import { type EntryKind, TarReader } from "./tar.ts";
import { writeTar } from "./tar_write.ts";
import { bytesOf } from "./testing.ts";

interface Seen {
  readonly entries: [string, EntryKind, number][];
  readonly files: Record<string, string>;
}

function read(archive: Uint8Array, piece = archive.length): Seen {
  const seen: Seen = { entries: [], files: {} };
  const reader = new TarReader({
    entry(path, kind, size) {
      seen.entries.push([path, kind, size]);
      return true;
    },
    file: (path, content) => void (seen.files[path] = new TextDecoder().decode(content)),
  }, "layer x");
  for (let at = 0; at < archive.length; at += piece) reader.write(archive.subarray(at, at + piece));
  reader.end();
  return seen;
}

/** A header block with the fields that matter, and its checksum. */
function block(fields: { name: string; size?: number | string; type?: string; magic?: string }) {
  const { name, size = 0, type = "0", magic = "ustar\x0000" } = fields;
  const bytes = new Uint8Array(512);
  const put = (at: number, text: string) => bytes.set(bytesOf(text), at);
  put(0, name);
  put(124, typeof size === "string" ? size : size.toString(8).padStart(11, "0"));
  put(148, " ".repeat(8));
  put(156, type);
  put(257, magic);
  put(148, bytes.reduce((sum, byte) => sum + byte, 0).toString(8).padStart(6, "0"));
  return bytes;
}

function padded(text: string): Uint8Array {
  const bytes = new Uint8Array(Math.ceil(text.length / 512) * 512);
  bytes.set(bytesOf(text));
  return bytes;
}

function join(...parts: Uint8Array[]): Uint8Array {
  return Uint8Array.from(parts.flatMap((part) => [...part]));
}

const END = new Uint8Array(1024);

Deno.test("what writeTar writes comes back, in pieces of any size", () => {
  const files = {
    "a.txt": "one",
    "empty": "",
    "block": "x".repeat(512),
    "more": "y".repeat(1300),
    [`${"long/".repeat(30)}é`]: "pax",
    "ü": "pax too",
  };
  const archive = writeTar(
    Object.entries(files).map(([path, text]) => ({ path, content: bytesOf(text) })),
  );
  for (const piece of [1, 7, 511, 512, 513, archive.length]) {
    assert.deepEqual(read(archive, piece).files, files);
  }
});

Deno.test("long names of GNU tar and sizes of pax win over the header", () => {
  const name = "n".repeat(150);
  const record = "12 size=003\n";
  const archive = join(
    block({ name: "././@LongLink", size: 151, type: "L" }),
    padded(`${name}\0`),
    block({ name: "short", size: 2 }),
    padded("ab"),
    block({ name: "pax", size: record.length, type: "x" }),
    padded(record),
    block({ name: "sized", size: 0 }),
    padded("abc"),
    END,
  );
  assert.deepEqual(read(archive).files, { [name]: "ab", sized: "abc" });
});

Deno.test("a name's start may stand in the ustar prefix, and large sizes in base 256", () => {
  const header = block({ name: "file", size: "\x80\0\0\0\0\0\0\0\0\0\0\x03" });
  // The text encoder made two bytes of the first one.
  header.set([0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 3], 124);
  header.set(bytesOf("some/folder"), 345);
  header.set(bytesOf(" ".repeat(8)), 148);
  header.set(
    bytesOf(header.reduce((sum, byte) => sum + byte, 0).toString(8).padStart(6, "0")),
    148,
  );
  assert.deepEqual(read(join(header, padded("abc"), END)).files, { "some/folder/file": "abc" });
});

Deno.test("only regular files have content", () => {
  const archive = join(
    block({ name: "folder/", type: "5" }),
    block({ name: "old/", type: "0" }),
    block({ name: "link", type: "2", size: 5 }),
    block({ name: "hard", type: "1", size: 5 }),
    block({ name: "device", type: "4" }),
    block({ name: "odd", type: "Z", size: 3 }),
    padded("odd"),
    block({ name: "pax_global", type: "g", size: 10 }),
    padded("10 a=bcde\n"),
    block({ name: "file", size: 1 }),
    padded("1"),
    END,
  );
  const { entries, files } = read(archive);
  assert.deepEqual(entries.map(([path, kind]) => [path, kind]), [
    ["folder/", "folder"],
    ["old/", "folder"],
    ["link", "link"],
    ["hard", "link"],
    ["device", "other"],
    ["odd", "other"],
    ["file", "file"],
  ]);
  assert.deepEqual(files, { file: "1" });
});

Deno.test("an archive that is damaged, cut or sparse is refused", () => {
  const file = block({ name: "a", size: 3 });
  const corrupt = (why: string) => ({
    code: "source.corrupt",
    message: `Cannot read layer x as a tar archive: ${why}`,
  });
  const bad = file.slice();
  bad[0] = 0x62;
  assert.throws(() => read(join(bad, END)), corrupt("it has a header that is none"));
  assert.throws(
    () => read(join(file, padded("a").subarray(0, 2))),
    corrupt("it ends in the middle of a file"),
  );
  assert.throws(() => read(file.subarray(0, 100)), corrupt("it ends in the middle of a file"));
  assert.throws(
    () => read(join(block({ name: "p", type: "x", size: 4 }), padded("9 a="), END)),
    corrupt("it has an extended header that cannot be read"),
  );
  assert.throws(
    () => read(block({ name: "p", type: "x", size: 2 ** 20 })),
    corrupt("it has an extended header of 1048576 bytes"),
  );
  assert.throws(() => read(block({ name: "s", type: "S" })), { code: "source.not_supported" });
});

Deno.test("an archive may end without its mark, and may not go on long behind it", () => {
  const file = join(block({ name: "a", size: 1 }), padded("1"));
  assert.deepEqual(read(file).files, { a: "1" });
  assert.deepEqual(read(join(file, END, new Uint8Array(10_240).fill(7))).files, { a: "1" });
  assert.throws(() => read(join(file, END, new Uint8Array(1024 * 1024 + 1))), {
    code: "source.too_large",
    message: "Cannot read layer x: it goes on for more than 1048576 bytes behind its end",
  });
});
