import assert from "node:assert/strict";
import { settle, sleep } from "../../core/clock.ts";
import { FlowError } from "../../core/errors.ts";
import { ARTIFACT, type Asked, broken, bytesOf, HOST, TestRegistry, textsOf } from "./testing.ts";

const isBlob = ({ url }: Asked) => url.pathname.includes("/blobs/");

/** A registry whose `v1` has one file, of 10 bytes. */
function withFile(): { registry: TestRegistry; digest: string } {
  const registry = new TestRegistry();
  registry.artifact("v1", [{ title: "a", bytes: bytesOf("0123456789") }]);
  return { registry, digest: registry.blob(bytesOf("0123456789")) };
}

/** How a promise ended while the clock moves on. */
async function whileWaiting<T>(registry: TestRegistry, work: Promise<T>): Promise<T> {
  let done = false;
  const end = () => void (done = true);
  work.then(end, end);
  await settle();
  while (!done) await registry.clock.advance(500);
  return await work;
}

Deno.test("a connection that fails is tried again, three times in all", async () => {
  const { registry } = withFile();
  let failures = 2;
  registry.intercept = () => {
    if (failures-- > 0) throw new TypeError("error sending request for url (https://x/?secret)");
    return null;
  };
  const source = registry.source();
  assert.deepEqual(textsOf(await whileWaiting(registry, source.read(null))), { a: "0123456789" });
  failures = 3;
  await assert.rejects(() => whileWaiting(registry, source.read(null)), {
    code: "source.unavailable",
    message: `Cannot use ${HOST} now: error sending request`,
  });
  assert.equal(registry.clock.pending, 0);
});

Deno.test("a certificate of an unknown authority is told with what to set", async () => {
  const { registry } = withFile();
  registry.intercept = () => {
    throw new TypeError("invalid peer certificate: UnknownIssuer");
  };
  await assert.rejects(() => whileWaiting(registry, registry.source().read(null)), {
    code: "source.unavailable",
    message: `Cannot use ${HOST} now: invalid peer certificate: UnknownIssuer`,
    hint:
      "where its certificate is from an authority of your own, set DENO_CERT to that one's PEM file",
  });
});

Deno.test("a 429 is waited for as long as it asks, when that is short", async () => {
  const { registry } = withFile();
  let refusals = 1;
  registry.intercept = () =>
    refusals-- > 0 ? new Response("slow", { status: 429, headers: { "retry-after": "7" } }) : null;
  const began = registry.clock.now();
  assert.ok(await whileWaiting(registry, registry.source().read(null)));
  assert.equal(registry.clock.now() - began, 7_000);
});

Deno.test("a longer wait is left to whoever asked", async () => {
  const { registry } = withFile();
  const at = new Date(registry.clock.now() + 90_000).toUTCString();
  for (const header of ["90", at]) {
    registry.log.length = 0;
    registry.intercept = () =>
      new Response(null, { status: 429, headers: { "retry-after": header } });
    await assert.rejects(() => registry.source().read(null), (error) => {
      assert.ok(error instanceof FlowError);
      assert.equal(error.message, `Cannot use ${HOST} now: it asks to slow down (429)`);
      assert.deepEqual([error.code, error.retryAfter], ["source.unavailable", 90_000]);
      return true;
    });
    assert.equal(registry.log.length, 1);
  }
});

Deno.test("a registry in trouble is told by its status", async () => {
  const { registry } = withFile();
  registry.intercept = () => new Response("<html>", { status: 503 });
  await assert.rejects(() => whileWaiting(registry, registry.source().read(null)), {
    code: "source.unavailable",
    message: `Cannot use ${HOST} now: it answered 503`,
  });
  assert.equal(registry.log.length, 3);
});

Deno.test("silence counts as a broken connection, before and in an answer", async () => {
  const { registry } = withFile();
  const silent = {
    code: "source.unavailable",
    message: `Cannot use ${HOST} now: no answer within 30s`,
  };
  registry.intercept = () => new Promise(() => {});
  await assert.rejects(() => whileWaiting(registry, registry.source().read(null)), silent);
  registry.intercept = (asked) => {
    const body = new ReadableStream({
      start: (controller) => controller.enqueue(bytesOf("0")),
      pull: (controller) =>
        new Promise<void>((resolve) => {
          // As the platform does when the request is aborted.
          asked.signal?.addEventListener("abort", () => {
            controller.error(asked.signal!.reason);
            resolve();
          });
        }),
    });
    return new Response(body);
  };
  await assert.rejects(() => whileWaiting(registry, registry.source().read(null)), silent);
});

Deno.test("a letter now and then is no answer", async () => {
  const { registry } = withFile();
  const { clock } = registry;
  let letters = 0;
  registry.intercept = (asked) =>
    new Response(
      new ReadableStream({
        async pull(controller) {
          await sleep(clock, 29_000, asked.signal!);
          if (asked.signal!.aborted) controller.error(asked.signal!.reason);
          else if (letters++ > 100) controller.close();
          else controller.enqueue(bytesOf(" "));
        },
      }),
    );
  await assert.rejects(() => whileWaiting(registry, registry.source().read(null)), {
    code: "source.unavailable",
    message: `Cannot use ${HOST} now: it took longer than 10m`,
  });
  assert.equal(letters, 20);
  assert.equal(clock.pending, 0);
});

Deno.test("a download goes on where its connection broke", async () => {
  const { registry } = withFile();
  const ranges: (string | null)[] = [];
  registry.intercept = (asked) => {
    if (!isBlob(asked)) return null;
    const range = asked.headers.get("range");
    ranges.push(range);
    if (range === null) return broken(bytesOf("0123"));
    if (range === "bytes=4-") {
      return broken(bytesOf("45"), { "content-range": "bytes 4-9/10" }, 206);
    }
    // This one does not know ranges, and comes in pieces.
    return new Response(ReadableStream.from(["01", "234", "56", "789"].map(bytesOf)));
  };
  assert.deepEqual(textsOf(await registry.source().read(null)), { a: "0123456789" });
  assert.deepEqual(ranges, [null, "bytes=4-", "bytes=6-"]);
});

Deno.test("a download that gets on may break as often as it will", async () => {
  const registry = new TestRegistry();
  const bytes = new Uint8Array(9 * 2 ** 20 - 9).map((_, at) => at >> 8);
  const artifact = registry.artifact("v1", [{ title: "big", bytes }]);
  let breaks = 0;
  registry.intercept = (asked) => {
    if (!isBlob(asked)) return null;
    const from = Number(/\d+/.exec(asked.headers.get("range") ?? "0")![0]);
    const range = { "content-range": `bytes ${from}-${bytes.length - 1}/${bytes.length}` };
    const part = bytes.subarray(from, from + 2 ** 20);
    breaks++;
    return from === 0 ? broken(part) : broken(part, range, 206);
  };
  const limits = { maxFileSize: 10 ** 7, maxTotalSize: 10 ** 7, maxFiles: 1 };
  const snapshot = await registry.source({ limits }).read(null);
  assert.equal(snapshot!.version, artifact);
  assert.equal(breaks, 9);
});

Deno.test("a part that was not asked for is not put in", async () => {
  const { registry, digest } = withFile();
  registry.intercept = (asked) => {
    if (!isBlob(asked)) return null;
    if (!asked.headers.has("range")) return broken(bytesOf("0123"));
    const headers = { "content-range": "bytes 5-9/10" };
    return new Response("56789", { status: 206, headers });
  };
  await assert.rejects(() => registry.source().read(null), {
    code: "source.not_supported",
    message: `Cannot read ${ARTIFACT}@${digest}: the answer was 206`,
  });
});

Deno.test("a download that ends early is taken up again, six times in all", async () => {
  const { registry, digest } = withFile();
  let asked = 0;
  registry.intercept = (one) => {
    if (!isBlob(one)) return null;
    return ++asked === 1 ? new Response("012") : new Response("", {
      status: 206,
      headers: { "content-range": "bytes 3-9/10" },
    });
  };
  await assert.rejects(() => registry.source().read(null), {
    code: "source.unavailable",
    message: `Cannot read ${ARTIFACT}@${digest}: the connection ended after 3 of 10 bytes`,
  });
  assert.equal(asked, 6);
});

Deno.test("an announced length that does not fit, and bytes too many, end a download", async () => {
  const { registry, digest } = withFile();
  let response = () => new Response("0123456789", { headers: { "content-length": "11" } });
  registry.intercept = (asked) => isBlob(asked) ? response() : null;
  await assert.rejects(() => registry.source().read(null), {
    code: "source.corrupt",
    message: `Cannot read ${ARTIFACT}@${digest}: it should have 10 bytes, and 11 are announced`,
  });
  response = () => new Response("0123456789a");
  await assert.rejects(() => registry.source().read(null), {
    code: "source.digest_mismatch",
    message: `Cannot use ${ARTIFACT}@${digest}: there are more than its 10 bytes`,
  });
});

Deno.test("redirects to other hosts are followed without credentials, and never out of TLS", async () => {
  const { registry } = withFile();
  const logins = () => Promise.resolve({ kind: "bearer", token: "secret" } as const);
  let target = "https://storage.example/blob?signature=1";
  registry.intercept = (asked) => {
    if (asked.url.host === "storage.example") return new Response("0123456789");
    if (!asked.headers.has("authorization")) {
      return new Response(null, { status: 401, headers: { "www-authenticate": "Basic" } });
    }
    return isBlob(asked)
      ? new Response(null, { status: 307, headers: { location: target } })
      : null;
  };
  const source = registry.source({ logins });
  assert.deepEqual(textsOf(await source.read(null)), { a: "0123456789" });
  const there = registry.asked.find(({ url }) => url.host === "storage.example")!;
  assert.equal(there.headers.get("authorization"), null);

  target = "http://storage.example/blob";
  await assert.rejects(() => registry.source({ logins }).read(null), {
    code: "source.not_supported",
    message: `Cannot follow a redirect of ${HOST}`,
  });
  target = "/v2/acme/flows/blobs/around";
  await assert.rejects(() => registry.source({ logins }).read(null), {
    code: "source.not_supported",
    message: `Cannot follow a redirect of ${HOST}: more than 5 in a row`,
  });
});
