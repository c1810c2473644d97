import assert from "node:assert/strict";
import { gunzipSync } from "node:zlib";
import { artifactOf, packFolder } from "./pack.ts";
import { pushArtifact } from "./push.ts";
import { parseReference } from "./reference.ts";
import { ARTIFACT, type Asked, HOST, TestRegistry, textsOf } from "./testing.ts";

async function withFolder(
  files: Record<string, string>,
  run: (folder: string) => Promise<void>,
): Promise<void> {
  const folder = await Deno.makeTempDir();
  try {
    for (const [path, text] of Object.entries(files)) {
      const at = `${folder}/${path}`;
      await Deno.mkdir(at.slice(0, at.lastIndexOf("/")), { recursive: true });
      await Deno.writeTextFile(at, text);
    }
    await run(folder);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

const FILES = {
  "flows/b.yaml": "b: 1",
  "flows/a/c.yaml": "c: 1",
  "resources/x.sql": "select 1",
  "flows/.hidden": "",
  "README.md": "not packed",
};

Deno.test("flows and resources are packed, equal files to equal bytes", () =>
  withFolder(FILES, async (folder) => {
    const first = await packFolder(folder);
    assert.deepEqual(first.files.map(({ path }) => path), [
      "flows/a/c.yaml",
      "flows/b.yaml",
      "resources/x.sql",
    ]);
    const { descriptor, bytes } = first.layer;
    // Holds for every machine: nothing of time, owner or processor is in it.
    assert.equal(
      descriptor.digest,
      "sha256:7fa734344993a956cc2d8fa52b3a88c64d2a282f55b8886114ca369142440cf9",
    );
    assert.deepEqual([...bytes.subarray(0, 10)], [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 2, 3]);
    assert.equal(gunzipSync(bytes).length % 512, 0);
    await withFolder(Object.fromEntries(Object.entries(FILES).reverse()), async (other) => {
      await Deno.chmod(`${other}/flows/b.yaml`, 0o755);
      await Deno.utime(`${other}/flows/b.yaml`, 1, 1);
      assert.deepEqual((await packFolder(other)).layer.bytes, bytes);
    });
    const annotations = { z: "1", a: "2" };
    assert.equal(
      artifactOf(first, annotations).digest,
      artifactOf(first, { a: "2", z: "1" }).digest,
    );
  }));

Deno.test("links are not packed, nor is nothing", async () => {
  await withFolder({ "flows/a.yaml": "" }, async (folder) => {
    await Deno.symlink("/etc/hostname", `${folder}/flows/b.yaml`);
    await assert.rejects(() => packFolder(folder), {
      code: "source.path_unsafe",
      message: "Cannot pack flows/b.yaml, which is a link",
    });
  });
  await withFolder({ "other/a.yaml": "" }, async (folder) => {
    await assert.rejects(() => packFolder(folder), {
      code: "source.missing",
      message: `There is nothing to push in ${folder}`,
    });
  });
});

/** Adds what a registry needs to be pushed to. */
function writable(): { registry: TestRegistry; uploads: Asked[] } {
  const registry = new TestRegistry();
  const uploads: Asked[] = [];
  registry.intercept = (asked) => {
    const { method, url, body } = asked;
    if (method === "POST") {
      return new Response(null, {
        status: 202,
        headers: { location: "/v2/acme/flows/blobs/uploads/id?state=x" },
      });
    }
    if (method !== "PUT") return null;
    uploads.push(asked);
    const bytes = body as Uint8Array;
    if (url.pathname.includes("/manifests/")) {
      registry.document(bytes, asked.headers.get("content-type")!, url.pathname.split("/").pop());
    } else if (registry.blob(bytes) !== url.searchParams.get("digest")) {
      return new Response(null, { status: 400 });
    }
    return new Response(null, { status: 201 });
  };
  return { registry, uploads };
}

Deno.test("what was pushed is read back, and blobs that are there are not sent again", () =>
  withFolder(FILES, async (folder) => {
    const { registry, uploads } = writable();
    const { clock, fetch } = registry;
    const artifact = artifactOf(await packFolder(folder), { a: "b" });
    await pushArtifact(parseReference(`${ARTIFACT}:v1`), artifact, { clock, fetch });
    assert.equal(uploads.length, 3);
    assert.equal(uploads[0]!.url.searchParams.get("state"), "x");
    const snapshot = await registry.source().read(null);
    assert.equal(snapshot!.version, artifact.digest);
    assert.deepEqual(textsOf(snapshot), {
      "flows/a/c.yaml": "c: 1",
      "flows/b.yaml": "b: 1",
      "resources/x.sql": "select 1",
    });
    await pushArtifact(parseReference(`${ARTIFACT}:v2`), artifact, { clock, fetch });
    assert.equal(uploads.length, 4);
  }));

Deno.test("uploads to another host go there without credentials", () =>
  withFolder(FILES, async (folder) => {
    const { registry, uploads } = writable();
    const { clock, fetch } = registry;
    const answer = registry.intercept;
    registry.intercept = (asked) => {
      if (asked.method === "POST") {
        const location = "https://storage.example/upload";
        return new Response(null, { status: 202, headers: { location } });
      }
      if (asked.url.host === "storage.example" || asked.headers.has("authorization")) {
        return answer(asked);
      }
      return new Response(null, { status: 401, headers: { "www-authenticate": "Basic" } });
    };
    const logins = () => Promise.resolve({ kind: "bearer", token: "secret" } as const);
    const artifact = artifactOf(await packFolder(folder), {});
    await pushArtifact(parseReference(`${ARTIFACT}:v1`), artifact, { clock, fetch, logins });
    const sent = uploads.map(({ url, headers }) => [url.host, headers.get("authorization")]);
    assert.deepEqual(sent, [
      ["storage.example", null],
      ["storage.example", null],
      [HOST, "Bearer secret"],
    ]);
  }));

Deno.test("a push asks for the right to push, and tells what a registry refuses", () =>
  withFolder(FILES, async (folder) => {
    const { registry } = writable();
    const { clock, fetch } = registry;
    const artifact = artifactOf(await packFolder(folder), {});
    const push = (text: string) => pushArtifact(parseReference(text), artifact, { clock, fetch });
    const answer = registry.intercept;
    registry.intercept = ({ method }) =>
      method === "POST" ? new Response(null, { status: 405 }) : null;
    await assert.rejects(() => push(`${ARTIFACT}:v1`), {
      code: "source.push_refused",
      message: `Cannot push to ${ARTIFACT}: ${HOST} answered 405 to a new blob`,
    });
    registry.intercept = (asked) =>
      asked.url.pathname.includes("/manifests/")
        ? new Response(null, { status: 409 })
        : answer(asked);
    await assert.rejects(() => push(`${ARTIFACT}:v1`), {
      code: "source.push_refused",
      message: `Cannot push to ${ARTIFACT}: ${HOST} answered 409 to the manifest`,
    });
    await assert.rejects(() => push(`${ARTIFACT}@${artifact.digest}`), {
      code: "source.reference_invalid",
      hint: "write a tag; the digest comes out of what is pushed",
    });
    registry.intercept = ({ url }) =>
      url.host === "auth.example"
        ? Response.json({ token: url.searchParams.get("scope") })
        : new Response(null, {
          status: 401,
          headers: { "www-authenticate": 'Bearer realm="https://auth.example/"' },
        });
    await assert.rejects(() => push(`${ARTIFACT}:v1`), {
      code: "source.auth_failed",
      message:
        `Cannot write to ${ARTIFACT}: ${HOST} refuses, it does not accept the credentials (401)`,
    });
    const token = registry.asked.at(-1)!.headers.get("authorization");
    assert.equal(token, "Bearer repository:acme/flows:pull,push");
  }));
