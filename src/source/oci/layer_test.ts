import assert from "node:assert/strict";
import { gzipSync, zstdCompressSync } from "node:zlib";
import { turn } from "../../core/clock.ts";
import { writeTar } from "./tar_write.ts";
import {
  ARTIFACT,
  bytesOf,
  LIMITS,
  TAR,
  type TestLayer,
  TestRegistry,
  textsOf,
} from "./testing.ts";

const DOCKER_LAYER = "application/vnd.docker.image.rootfs.diff.tar.gzip";

function tar(files: Record<string, string>): Uint8Array {
  return writeTar(Object.entries(files).map(([path, text]) => ({ path, content: bytesOf(text) })));
}

async function read(...layers: TestLayer[]) {
  const registry = new TestRegistry();
  registry.artifact("v1", layers);
  return await registry.source().read(null);
}

async function texts(...layers: TestLayer[]): Promise<Record<string, string>> {
  return textsOf(await read(...layers));
}

/** An answer that comes in pieces, with turns of the event loop between them. */
function slowly(bytes: Uint8Array<ArrayBuffer>): Response {
  let at = 0;
  return new Response(
    new ReadableStream({
      async pull(controller) {
        await turn();
        controller.enqueue(bytes.subarray(at, at += 1_000));
        if (at >= bytes.length) controller.close();
      },
    }),
  );
}

Deno.test("archives are read whatever packs them, and whatever the media type says of that", async () => {
  const plain = tar({ a: "1" });
  for (const bytes of [plain, gzipSync(plain), zstdCompressSync(plain)]) {
    for (
      const mediaType of [TAR, `${TAR}+gzip`, `${TAR}+zstd`, DOCKER_LAYER, "application/x-tar"]
    ) {
      assert.deepEqual(await texts({ mediaType, bytes }), { a: "1" });
      assert.deepEqual(await texts({ mediaType, bytes, title: "x.tar.gz" }), { a: "1" });
    }
  }
});

Deno.test("gzip of several members and zstd of several frames are read to their end", async () => {
  const plain = tar({ a: "1", b: "2" });
  const halves = [plain.subarray(0, 700), plain.subarray(700)];
  const join = (parts: Uint8Array[]) => Uint8Array.from(parts.flatMap((part) => [...part]));
  const skippable = Uint8Array.from([0x50, 0x2a, 0x4d, 0x18, 2, 0, 0, 0, 9, 9]);
  const zstd = join([skippable, ...halves.map((half) => zstdCompressSync(half)), skippable]);
  for (const bytes of [join(halves.map((half) => gzipSync(half))), zstd]) {
    assert.deepEqual(await texts({ mediaType: TAR, bytes }), { a: "1", b: "2" });
  }
});

Deno.test("a titled layer that is no archive is the file of its title", async () => {
  const packed = gzipSync("text");
  const file = async (mediaType: string, title: string, bytes: Uint8Array) =>
    (await read({ mediaType, title, bytes }))!.files.get(title)!.bytes();
  // What `oras push file.yaml` makes.
  assert.deepEqual(await file(TAR, "file.yaml", bytesOf("a: 1")), bytesOf("a: 1"));
  assert.deepEqual(await file(TAR, "data.csv.gz", packed), new Uint8Array(packed));
  assert.deepEqual(await file("application/gzip", "data.gz", packed), new Uint8Array(packed));
  assert.deepEqual(await file("text/yaml", "a.tar", tar({ a: "" })), tar({ a: "" }));
  assert.deepEqual(await file("application/yaml+gzip", "a.yaml", packed), bytesOf("text"));
  assert.deepEqual(await file("application/yaml", "empty", bytesOf("")), bytesOf(""));
});

Deno.test("an untitled layer that is no archive is called by its number", async () => {
  const mediaType = "application/octet-stream";
  assert.deepEqual(
    await texts({ mediaType, bytes: bytesOf("0") }, { mediaType, bytes: bytesOf("1") }),
    { "layer-0": "0", "layer-1": "1" },
  );
  assert.deepEqual(await texts({ mediaType, bytes: new Uint8Array(600) }), {
    "layer-0": "\0".repeat(600),
  });
  const empty = { mediaType: "application/vnd.oci.empty.v1+json", bytes: bytesOf("{}") };
  assert.deepEqual(await texts(empty), {});
});

Deno.test("image layers lie on each other, with whiteouts for those below", async () => {
  const image = (files: Record<string, string>) => ({
    mediaType: DOCKER_LAYER,
    bytes: gzipSync(tar(files)),
  });
  assert.deepEqual(
    await texts(
      image({ "a": "1", "dir/b": "1", "dir/sub/c": "1", "gone/d": "1", "opaque/e": "1", "x": "1" }),
      image({
        ".wh.gone": "",
        "dir/.wh.sub": "",
        "opaque/f": "2",
        "opaque/.wh..wh..opq": "",
        "a": "2",
        // A whiteout does not concern its own layer.
        "dir/.wh.b": "",
        "dir/b": "2",
        "x/now/folder": "2",
      }),
    ),
    { "a": "2", "dir/b": "2", "opaque/f": "2", "x/now/folder": "2" },
  );
  assert.deepEqual(await texts(image({ a: "1" }), image({ ".wh..wh..opq": "", b: "2" })), {
    b: "2",
  });
  assert.deepEqual(await texts(image({ "a/b": "1", "ab": "1" }), image({ a: "2" })), {
    a: "2",
    ab: "1",
  });
  assert.deepEqual(await texts(image({ "ab": "1", "a/b": "1" }), image({ ".wh.a": "" })), {
    ab: "1",
  });
});

Deno.test("titled layers lie on top, know no whiteouts, and the last of one path wins", async () => {
  assert.deepEqual(
    await texts(
      { title: "a", bytes: bytesOf("1") },
      { title: "a", bytes: bytesOf("2") },
      { mediaType: TAR, title: "x.tar", bytes: tar({ ".wh.b": "kept" }) },
      { mediaType: TAR, bytes: tar({ a: "image", b: "image" }) },
    ),
    { ".wh.b": "kept", a: "2", b: "image" },
  );
});

Deno.test("links are not read, and told once", async () => {
  const archive = tar({ a: "1", b: "" });
  archive[1024 + 156] = "2".charCodeAt(0); // "b" becomes a symbolic link
  archive.set(bytesOf(" ".repeat(8)), 1024 + 148);
  const sum = archive.subarray(1024, 1536).reduce((sum, byte) => sum + byte, 0);
  archive.set(bytesOf(sum.toString(8).padStart(6, "0")), 1024 + 148);
  const snapshot = await read({ mediaType: TAR, bytes: archive }, {
    mediaType: TAR,
    bytes: archive,
  });
  assert.deepEqual(textsOf(snapshot), { a: "1" });
  assert.deepEqual(snapshot!.problems.map(({ error: { code, message } }) => [code, message]), [
    ["source.entry_skipped", "Not read, for they are no files: b"],
  ]);
});

Deno.test("paths that leave their root are refused by name", async () => {
  const cases: [string, string][] = [
    ["../a", "it leaves its folder"],
    ["a/../../b", "it leaves its folder"],
    ["/etc/passwd", "it is absolute"],
    ["a\\b", "it holds a backslash"],
    ["a\x1b[2Jb", "it holds a control character"],
    ["a\x85", "it holds a control character"],
  ];
  for (const [path, why] of cases) {
    for (
      const layer of [{ mediaType: TAR, bytes: tar({ [path]: "" }) }, {
        title: path,
        bytes: bytesOf(""),
      }]
    ) {
      await assert.rejects(() => read(layer), ({ code, message }) => {
        assert.equal(code, "source.path_unsafe");
        assert.match(message, /in layer sha256:[0-9a-f]{64}: /);
        assert.ok(message.startsWith(`Cannot use the path ${JSON.stringify(path)} `));
        assert.ok(message.endsWith(why));
        return true;
      });
    }
  }
  await assert.rejects(() => read({ title: "./", bytes: bytesOf("") }), {
    code: "source.path_unsafe",
  });
  assert.deepEqual(await texts({ title: `${"a/".repeat(63)}b`, bytes: bytesOf("1") }), {
    [`${"a/".repeat(63)}b`]: "1",
  });
  await assert.rejects(() => read({ title: `${"a/".repeat(64)}b`, bytes: bytesOf("") }), {
    code: "source.path_unsafe",
    message: /it has more than 64 parts$/,
  });
  await assert.rejects(() => read({ title: "a".repeat(5_000), bytes: bytesOf("") }), (error) => {
    const { message } = error as Error;
    return message.endsWith("it is too long") && message.length < 500;
  });
});

Deno.test("an encrypted layer is refused", async () => {
  await assert.rejects(
    () => read({ mediaType: `${TAR}+gzip+encrypted`, bytes: bytesOf("x") }),
    { code: "source.not_supported", message: /it is encrypted$/ },
  );
});

Deno.test("a bomb is refused before it takes memory", async () => {
  const zeros = (size: number) => new Uint8Array(size);
  const big = tar({ "zeros": "" }).slice(0, 512);
  // A header that says 10 GiB, as its archive would.
  big.set(bytesOf((10 * 2 ** 30).toString(8).padStart(12, "0")), 124);
  big.set(bytesOf(" ".repeat(8)), 148);
  big.set(bytesOf(big.reduce((sum, byte) => sum + byte, 0).toString(8).padStart(6, "0")), 148);
  await assert.rejects(() => read({ mediaType: `${TAR}+gzip`, bytes: gzipSync(big) }), {
    code: "source.too_large",
    message: `Cannot use "zeros" of ${ARTIFACT}:v1: it has 10737418240 bytes, and ` +
      `max_file_size is ${LIMITS.maxFileSize}`,
  });
  // An archive of nothing but its end mark.
  await assert.rejects(() => read({ mediaType: `${TAR}+gzip`, bytes: gzipSync(zeros(2 ** 21)) }), {
    code: "source.too_large",
  });
  const one = { mediaType: "text/plain+gzip", title: "a", bytes: gzipSync(zeros(2_000_000)) };
  await assert.rejects(() => read(one), ({ code, message }) => {
    const size = Number(/it has (\d+) bytes, and max_file_size is 1000000$/.exec(message)![1]);
    assert.ok(size < 1_100_000, "it was unpacked no further than it had to be");
    return code === "source.too_large";
  });
  // Folders have no content, but there can be many of them.
  const folder = tar({ "d": "" }).slice(0, 512);
  folder[156] = "5".charCodeAt(0);
  folder.set(bytesOf(" ".repeat(8)), 148);
  folder.set(
    bytesOf(folder.reduce((sum, byte) => sum + byte, 0).toString(8).padStart(6, "0")),
    148,
  );
  const folders = zeros(512 * 25_000);
  for (let at = 0; at < folders.length; at += 512) folders.set(folder, at);
  await assert.rejects(() => read({ mediaType: `${TAR}+gzip`, bytes: gzipSync(folders) }), {
    code: "source.too_large",
    message: /max_total_size/,
  });
});

Deno.test("a layer larger than everything may be is not downloaded", async () => {
  const registry = new TestRegistry();
  registry.artifact("v1", [{ mediaType: `${TAR}+gzip`, bytes: bytesOf("x"), size: 10 ** 9 }]);
  await assert.rejects(() => registry.source().read(null), { code: "source.too_large" });
  assert.deepEqual(registry.log, ["GET manifests/v1"]);
});

Deno.test("layers that are long and hold nothing are downloaded up to the limits", async () => {
  const nothing = gzipSync("");
  // Members of an archive that are empty: as many as it takes.
  const bytes = new Uint8Array(nothing.length * 100_000);
  for (let at = 0; at < bytes.length; at += nothing.length) bytes.set(nothing, at);
  const layers = Array.from({ length: 20 }, (_, index) => ({ bytes, title: `${index}.tar.gz` }));
  const registry = new TestRegistry();
  registry.artifact("v1", layers.map((layer) => ({ ...layer, mediaType: `${TAR}+gzip` })));
  await assert.rejects(() => registry.source().read(null), {
    code: "source.too_large",
    message: /max_total_size/,
  });
  assert.ok(registry.log.filter((line) => line.startsWith("GET blobs/")).length < 8);
});

Deno.test("damage is told as that of the digest, and a bad archive as such", async () => {
  const good = gzipSync(tar({ a: "some text" }));
  const bad = new Uint8Array(good);
  bad[30] = bad[30]! ^ 0xff;
  await assert.rejects(() => read({ mediaType: `${TAR}+gzip`, bytes: bad }), {
    code: "source.corrupt",
    message: /^Cannot unpack layer sha256:\w+ as gzip: /,
  });
  // The archive breaks at once, the digest is known at the end.
  const random = crypto.getRandomValues(new Uint8Array(60_000));
  const large = gzipSync(writeTar([{ path: "a", content: random }]));
  const changed = new Uint8Array(large);
  changed[9] = changed[3] = 0xff;
  const registry = new TestRegistry();
  const digest = registry.blob(new Uint8Array(large));
  registry.artifact("v1", [{ mediaType: `${TAR}+gzip`, bytes: large }]);
  registry.intercept = ({ url }) => {
    return url.pathname.endsWith(digest) ? slowly(changed) : null;
  };
  await assert.rejects(() => registry.source().read(null), {
    code: "source.digest_mismatch",
    message: `Cannot use ${ARTIFACT}@${digest}: its bytes have another digest`,
  });
});

Deno.test("an archive that ends before its layer does counts for nothing until the digest is known", async () => {
  const random = crypto.getRandomValues(new Uint8Array(60_000));
  const pushed = gzipSync(writeTar([{ path: "a", content: random }]));
  // It unpacks well, and what lies behind its end is nobody's business but the digest's.
  const forged = new Uint8Array(pushed.length);
  forged.set(gzipSync(tar({ a: "forged" })));
  const registry = new TestRegistry();
  const digest = registry.artifact("v1", [{ mediaType: `${TAR}+gzip`, bytes: pushed }]);
  registry.intercept = ({ url }) => url.pathname.includes("/blobs/") ? slowly(forged) : null;
  await assert.rejects(() => registry.source().read(null), { code: "source.digest_mismatch" });
  registry.intercept = () => null;
  const snapshot = await registry.source().read(null);
  assert.equal(snapshot!.version, digest);
  assert.deepEqual(snapshot!.files.get("a")!.bytes(), random);
});

Deno.test("a zstd stream that wants too much memory, or is cut, is refused", async () => {
  const header = [0x28, 0xb5, 0x2f, 0xfd, 0x00, 0x80]; // a window of 64 MiB
  const wide = { mediaType: `${TAR}+zstd`, bytes: Uint8Array.from([...header, 1, 0, 0]) };
  await assert.rejects(() => read(wide), {
    code: "source.not_supported",
    message: /it wants a window of 67108864 bytes$/,
  });
  const whole = zstdCompressSync(tar({ a: "1" }));
  const cut = { mediaType: `${TAR}+zstd`, bytes: whole.subarray(0, whole.length - 3) };
  await assert.rejects(() => read(cut), { code: "source.corrupt" });
});
