import assert from "node:assert/strict";
import { settle, TestClock } from "../../core/clock.ts";
import { type Fetch, GitHttp, type GitHttpOptions } from "./http.ts";

const given = (fetch: Fetch, options: Partial<GitHttpOptions> = {}) =>
  new GitHttp({ url: new URL("https://host/flows"), clock: new TestClock(), fetch, ...options });
const ask = (http: GitHttp, signal?: AbortSignal) =>
  http.send({ path: "/info/refs" }, signal, async ({ chunks }) => {
    const parts: Uint8Array[] = [];
    for await (const chunk of chunks) parts.push(chunk);
    return parts.map((part) => new TextDecoder().decode(part)).join("");
  });

Deno.test("a redirect never leads from https to http", async () => {
  const seen: string[] = [];
  const http = given((url) => {
    seen.push(url.href);
    const headers = { location: "http://host/flows/info/refs" };
    return Promise.resolve(new Response(null, { status: 302, headers }));
  });
  await assert.rejects(ask(http), { code: "source.not_supported" });
  assert.deepEqual(seen, ["https://host/flows/info/refs"]);
});

Deno.test("credentials in a redirect are dropped", async () => {
  const seen: string[] = [];
  const http = given((url) => {
    seen.push(url.href);
    if (url.host === "other") return Promise.resolve(new Response("there"));
    const headers = { location: "https://ada:s3cret@other/x/info/refs" };
    return Promise.resolve(new Response(null, { status: 301, headers }));
  });
  assert.equal(await ask(http), "there");
  assert.equal(await ask(http), "there");
  const [first, other] = ["https://host/flows/info/refs", "https://other/x/info/refs"];
  assert.deepEqual(seen, [first, other, other]);
  http.restart();
  await ask(http);
  assert.deepEqual(seen.slice(3), [first, other]);
});

Deno.test("another port of the same host is another host", async () => {
  const sent: (string | null)[] = [];
  const http = given((url, init) => {
    sent.push(new Headers(init.headers).get("authorization"));
    if (url.port === "") {
      const headers = { location: "https://host:8443/flows/info/refs" };
      return Promise.resolve(new Response(null, { status: 301, headers }));
    }
    return Promise.resolve(new Response(null, { status: 401 }));
  }, { credentials: () => Promise.resolve({ token: "s3cret" }) });
  await assert.rejects(ask(http), {
    code: "source.auth_failed",
    message:
      "Cannot read from https://host/flows: https://host:8443/flows, where it leads to, asks for credentials",
    hint: "write https://host:8443/flows as the address if it may have them",
  });
  assert.deepEqual(sent, [null, null]);
});

Deno.test("what home was told, the host it leads to is not", async () => {
  const sent: string[] = [];
  const http = given((url, init) => {
    const authorization = new Headers(init.headers).get("authorization");
    sent.push(`${url.host} ${authorization !== null}`);
    if (url.host === "other") return Promise.resolve(new Response("there"));
    if (authorization === null) return Promise.resolve(new Response(null, { status: 401 }));
    const headers = { location: "https://other/flows/info/refs" };
    return Promise.resolve(new Response(null, { status: 301, headers }));
  }, { credentials: () => Promise.resolve({ token: "s3cret" }) });
  assert.equal(await ask(http), "there");
  assert.deepEqual(sent, ["host false", "host true", "other false"]);
});

Deno.test("a credentials file that is no JSON is not quoted, not even by the cause", async () => {
  const http = given(() => Promise.resolve(new Response(null, { status: 401 })), {
    credentials: () => Promise.resolve("ghp_s3cret").then(JSON.parse),
  });
  await assert.rejects(ask(http), (error) => {
    assert.equal((error as { code?: string }).code, "source.credentials_invalid");
    return !Deno.inspect(error).includes("s3cret");
  });
});

Deno.test("Retry-After may be a date", async () => {
  const clock = new TestClock("2030-01-01T00:00:00Z");
  const headers = { "retry-after": "Tue, 01 Jan 2030 00:01:00 GMT" };
  const http = given(() => Promise.resolve(new Response(null, { status: 429, headers })), {
    clock,
  });
  await assert.rejects(ask(http), {
    code: "source.unavailable",
    message: "Cannot read from https://host/flows: it answered 429",
    retryAfter: 60_000,
  });
});

/** An answer that gets one more byte whenever `more` is called. */
function dripping() {
  let controller: ReadableStreamDefaultController<Uint8Array>;
  const body = new ReadableStream<Uint8Array>({ start: (one) => void (controller = one) });
  const fetch: Fetch = (_url, { signal }) => {
    signal?.addEventListener("abort", () => controller.error(new Error("aborted")));
    return Promise.resolve(new Response(body));
  };
  return {
    fetch,
    more: () => controller.enqueue(new Uint8Array([65])),
    end: () => controller.close(),
  };
}

Deno.test("an answer may take its time as long as something arrives", async () => {
  const clock = new TestClock();
  const { fetch, more, end } = dripping();
  const answer = ask(given(fetch, { clock }));
  for (let i = 0; i < 10; i++) {
    await clock.advance(29_000);
    more();
    await settle();
  }
  end();
  assert.equal(await answer, "A".repeat(10));
  assert.equal(clock.pending, 0);
});

Deno.test("an answer that never ends is given up after ten minutes", async () => {
  const clock = new TestClock();
  const { fetch, more } = dripping();
  const answer = assert.rejects(ask(given(fetch, { clock })), {
    code: "source.unavailable",
    message: "Cannot read from https://host/flows: it took longer than 10m",
  });
  for (let i = 0; i < 600; i += 20) {
    await clock.advance(20_000);
    if (i < 580) more();
    await settle();
  }
  await answer;
  assert.equal(clock.pending, 0);
});

Deno.test("a request is given up for the first reason, however long its end takes", async () => {
  const clock = new TestClock();
  const ended = Promise.withResolvers<Response>();
  const answer = assert.rejects(ask(given(() => ended.promise, { clock })), {
    code: "source.unavailable",
    message: "Cannot read from https://host/flows: it was silent for 30s",
  });
  await clock.advance(600_000);
  ended.reject(new Error("aborted"));
  await answer;
});

Deno.test("the reason of a failed request is told without the address's query", async () => {
  const http = given(() => {
    const cause = new Error("dns error for https://ada:s3cret@host/flows?token=s3cret");
    return Promise.reject(new TypeError("error sending request", { cause }));
  });
  await assert.rejects(ask(http), {
    code: "source.unavailable",
    message: "Cannot read from https://host/flows: dns error for https://host/flows",
  });
});

Deno.test("a certificate of an unknown authority is told with what to set", async () => {
  const reason = "client error (Connect): invalid peer certificate: UnknownIssuer";
  const http = given(() =>
    Promise.reject(new TypeError("error sending request", { cause: new Error(reason) }))
  );
  await assert.rejects(ask(http), {
    code: "source.unavailable",
    message: `Cannot read from https://host/flows: ${reason}`,
    hint:
      "where its certificate is from an authority of your own, set DENO_CERT to that one's PEM file",
  });
});
