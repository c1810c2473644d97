import assert from "node:assert/strict";
import * as v from "valibot";
import { TestClock } from "../../core/clock.ts";
import { FlowError, isTransient } from "../../core/errors.ts";
import type { Data, FlowEvent } from "../../flow/event.ts";
import { outputs, runAsyncTask, testCall, testContext, testEvent } from "../../flow/testing.ts";
import { httpRequest } from "./http_request.ts";

interface Seen {
  method: string;
  path: string;
  headers: Headers;
  body: string;
}

/** A server on a free port for as long as `use` runs. */
async function withServer(
  handler: (request: Request) => Response | Promise<Response>,
  use: (url: string, seen: Seen[]) => Promise<void>,
): Promise<void> {
  const seen: Seen[] = [];
  const server = Deno.serve({ port: 0, hostname: "127.0.0.1", onListen() {} }, async (request) => {
    const { pathname, search } = new URL(request.url);
    const { method, headers } = request;
    seen.push({ method, path: pathname + search, headers, body: await request.text() });
    return await handler(request);
  });
  try {
    await use(`http://127.0.0.1:${server.addr.port}`, seen);
  } finally {
    await server.shutdown();
  }
}

async function send(config: Record<string, unknown>, data: unknown = {}): Promise<FlowEvent> {
  const [event] = await runAsyncTask(httpRequest, { config, input: [data] });
  return event!;
}

async function failure(config: Record<string, unknown>, data?: unknown): Promise<FlowError> {
  try {
    await send(config, data);
  } catch (cause) {
    assert.ok(cause instanceof FlowError, String(cause));
    return cause;
  }
  assert.fail("nothing failed");
}

const ok = () => Response.json({ ok: true });

Deno.test("the answer's body is the data; status and headers are in meta.http", async () => {
  const answer = () =>
    Response.json({ id: 7 }, { status: 201, headers: { "X-Rate": "9", "set-cookie": "s=1" } });
  await withServer(answer, async (url, seen) => {
    const input = testEvent({ id: 7 }, { meta: { source: "x" } });
    const [event] = await runAsyncTask(httpRequest, {
      config: {
        endpoint: `${url}/orders/{{event.data.id}}`,
        headers: { "X-Id": "{{event.data.id}}" },
      },
      input: [input],
    });
    assert.deepEqual(event!.data, { id: 7 });
    assert.equal(event!.subject, "http_request");
    const { http, ...meta } = event!.meta as { http: { status: number; headers: object } };
    assert.deepEqual(meta, input.meta);
    assert.equal(http.status, 201);
    assert.equal((http.headers as Record<string, string>)["x-rate"], "9");
    assert.ok(!("set-cookie" in http.headers));
    assert.deepEqual([seen[0]!.method, seen[0]!.path], ["GET", "/orders/7"]);
    assert.equal(seen[0]!.headers.get("x-id"), "7");
  });
});

Deno.test("the body becomes JSON, text or bytes", async () => {
  const bodies: Record<string, BodyInit | null> = { "/json": "[1]", "/text": "é{", "/none": null };
  const answer = (request: Request) => new Response(bodies[new URL(request.url).pathname]);
  await withServer(answer, async (url) => {
    const cases: [string, string | undefined, Data][] = [
      ["/json", undefined, [1]],
      ["/text", undefined, "é{"],
      ["/none", undefined, null],
      ["/json", "text", "[1]"],
      ["/none", "text", ""],
      ["/json", "bytes", new TextEncoder().encode("[1]")],
    ];
    for (const [path, response_type, data] of cases) {
      assert.deepEqual((await send({ endpoint: url + path, response_type })).data, data);
    }
  });
});

Deno.test("a payload goes out as JSON, as a form or in the query", async () => {
  await withServer(ok, async (url, seen) => {
    const cases: [Record<string, unknown>, unknown, [string, string, string | null]][] = [
      [{ object: { id: "{{event.data.id}}", n: [1] } }, { id: 7 }, [
        "/x?a=1",
        '{"id":7,"n":[1]}',
        "application/json",
      ]],
      [{ input: '{"id":{{event.data.id}}}' }, { id: 7 }, [
        "/x?a=1",
        '{"id":7}',
        "application/json",
      ]],
      [{ from_event: true, object: { no: 1 } }, [1], ["/x?a=1", "[1]", "application/json"]],
      [{ from_event: true }, new Uint8Array([104, 105]), [
        "/x?a=1",
        "hi",
        "application/octet-stream",
      ]],
      [{ from_event: true, send_as: "urlencoded" }, { a: "é &", b: [1, true], c: null }, [
        "/x?a=1",
        "a=%C3%A9+%26&b=1&b=true",
        "application/x-www-form-urlencoded",
      ]],
      [{ from_event: true, send_as: "queryparams" }, { b: 2 }, ["/x?a=1&b=2", "", null]],
    ];
    for (const [payload, data, expected] of cases) {
      await send({ endpoint: `${url}/x?a=1`, method: "POST", payload }, data);
      const { path, body, headers } = seen.at(-1)!;
      assert.deepEqual([path, body, headers.get("content-type")], expected);
    }
    await send({
      endpoint: url,
      method: "PUT",
      headers: { "Content-Type": "application/vnd.x+json" },
      payload: { from_event: true },
    });
    assert.equal(seen.at(-1)!.headers.get("content-type"), "application/vnd.x+json");
  });
});

Deno.test("a payload that cannot be sent fails its event", async () => {
  const base = { endpoint: "http://127.0.0.1:9/", method: "POST" };
  for (
    const [payload, data] of [
      [{ input: "{" }, {}],
      [{ from_event: true, send_as: "urlencoded" }, [1]],
      [{ from_event: true, send_as: "queryparams" }, { a: { b: 1 } }],
      [{ from_event: true, send_as: "queryparams" }, new Uint8Array(1)],
    ] as const
  ) {
    assert.equal((await failure({ ...base, payload }, data)).code, "http.payload_invalid");
  }
});

Deno.test("a body with GET is refused before anything starts", async () => {
  const config = { endpoint: "https://x", payload: { from_event: true } };
  assert.deepEqual(
    { code: (await failure(config)).code, message: (await failure(config)).message },
    { code: "config.payload_method", message: "Cannot send a body with GET" },
  );
});

Deno.test("statuses from 400 fail: some for good, some to be tried again", async () => {
  const answer = (request: Request) => {
    const status = Number(new URL(request.url).pathname.slice(1));
    return new Response("no ".repeat(100), { status, headers: { "retry-after": "7" } });
  };
  await withServer(answer, async (url) => {
    const fail = (status: number, more = {}) =>
      failure({ endpoint: `${url}/${status}?token=secret`, method: "POST", ...more });
    const gone = await fail(404);
    assert.equal(gone.code, "http.status");
    assert.equal(gone.message, `POST ${url} answered 404: ${"no ".repeat(67).slice(0, 200)}`);
    for (const status of [408, 429, 500, 503, 599]) {
      const error = await fail(status);
      assert.deepEqual([error.code, error.retryAfter], ["http.status_retry", 7_000]);
      assert.ok(isTransient(error));
    }
    assert.equal((await fail(503, { retry_statuses: [] })).code, "http.status");
    assert.equal((await fail(404, { retry_statuses: ["400..404"] })).code, "http.status_retry");
  });
});

Deno.test("Retry-After may be a date", async () => {
  const headers = { "retry-after": "Tue, 01 Jan 2030 00:01:00 GMT" };
  await withServer(() => new Response(null, { status: 429, headers }), async (url) => {
    assert.equal((await failure({ endpoint: url })).retryAfter, 60_000);
  });
});

Deno.test("a server that cannot be reached is tried again, and what may be secret is not told", async () => {
  const listener = Deno.listen({ port: 0, hostname: "127.0.0.1" });
  const { port } = listener.addr as Deno.NetAddr;
  listener.close();
  const error = await failure({
    endpoint: `http://u:pass@127.0.0.1:${port}/hooks/secret?token=secret`,
  });
  assert.equal(error.code, "http.unavailable");
  assert.ok(isTransient(error));
  assert.match(error.message, new RegExp(`^GET http://127.0.0.1:${port} failed: .*refused`, "i"));
  assert.doesNotMatch(error.message, /secret|pass/);
});

/** Starts a request to a server that does not answer, and lets `act` end it. */
async function hang(
  config: Record<string, unknown>,
  act: (clock: TestClock, abort: AbortController) => unknown,
): Promise<FlowError> {
  const reached = Promise.withResolvers<void>();
  const release = Promise.withResolvers<void>();
  let error: unknown;
  const handler = async () => {
    reached.resolve();
    await release.promise;
    return new Response();
  };
  await withServer(handler, async (url) => {
    const clock = new TestClock();
    const abort = new AbortController();
    const context = testContext(httpRequest, { endpoint: url, ...config }, { clock });
    const run = await httpRequest.create(context);
    const call = testCall(() => {}, { signal: abort.signal });
    const answer = Promise.resolve(run(testEvent({}), call)).then(
      async (output) => await outputs(output),
      (cause) => error = cause,
    );
    await reached.promise;
    await act(clock, abort);
    await answer;
    assert.equal(clock.pending, 0);
    release.resolve();
  });
  assert.ok(error instanceof FlowError);
  return error;
}

Deno.test("a request ends at its timeout, 30 seconds unless told", async () => {
  const error = await hang({}, async (clock) => {
    await clock.advance(29_999);
    assert.equal(clock.pending, 1);
    await clock.advance(1);
  });
  assert.equal(error.code, "http.timeout");
  assert.ok(isTransient(error));
  const short = await hang({ timeout: "1s" }, (clock) => clock.advance(1_000));
  assert.match(short.message, /gave no answer within 1s$/);
});

Deno.test("a request ends with its delivery, also without a timeout", async () => {
  const stopped = new FlowError("delivery.timeout", "Too late");
  const error = await hang({ timeout: null }, (clock, abort) => {
    assert.equal(clock.pending, 0);
    abort.abort(stopped);
  });
  assert.equal(error, stopped);
});

Deno.test("an answer over the limit is not read on, and not asked for again", async () => {
  const answer = () => new Response("x".repeat(100_000));
  await withServer(answer, async (url) => {
    const error = await failure({ endpoint: url, max_response_bytes: "1KiB" });
    assert.deepEqual([error.code, isTransient(error)], ["http.response_too_large", false]);
    assert.ok(await send({ endpoint: url, max_response_bytes: 100_000 }));
  });
});

Deno.test("credentials are sent, bearer first; a password in the URL works too", async () => {
  const file = await Deno.makeTempFile();
  const basic_auth = { username: "ada", password: "pä" };
  await withServer(ok, async (url, seen) => {
    const sent = async (credentials: unknown, endpoint = url) => {
      await Deno.writeTextFile(file, JSON.stringify(credentials));
      await send({ endpoint, ...(credentials ? { credentials_path: file } : {}) });
      return seen.at(-1)!.headers.get("authorization");
    };
    const withPassword = url.replace("//", "//ada:p%C3%A4@");
    assert.equal(await sent({ bearer_auth: "tok", basic_auth }), "Bearer tok");
    assert.equal(await sent({ basic_auth }), "Basic YWRhOnDDpA==");
    assert.equal(await sent(null, withPassword), "Basic YWRhOnDDpA==");
    assert.equal(await sent({ bearer_auth: "tok" }, withPassword), "Bearer tok");
    assert.equal(await sent(null), null);
  });
  await Deno.remove(file);
});

Deno.test("credentials do not follow a redirect to another server", async () => {
  await withServer(ok, async (other, seen) => {
    await withServer(() => Response.redirect(`${other}/there`), async (url) => {
      await send({ endpoint: url.replace("//", "//ada:pw@") });
    });
    assert.equal(seen[0]!.path, "/there");
    assert.equal(seen[0]!.headers.get("authorization"), null);
  });
});

Deno.test("only http and https URLs are called", async () => {
  for (const endpoint of ["ftp://x/y", "file:///etc/passwd", "u:secret@host/x?secret", ""]) {
    const error = await failure({ endpoint });
    assert.equal(error.code, "http.url_invalid", endpoint);
    assert.doesNotMatch(error.message, /secret/);
  }
});

Deno.test("ranges of statuses are read strictly", () => {
  const read = (retry_statuses: unknown) =>
    v.safeParse(httpRequest.config, { endpoint: "https://x", retry_statuses }).success;
  assert.ok(read([429, "500..599"]));
  for (const bad of [["5xx"], ["500-599"], [42], ["429"], 429]) assert.ok(!read(bad));
});
