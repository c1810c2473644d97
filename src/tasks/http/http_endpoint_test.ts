import assert from "node:assert/strict";
import * as v from "valibot";
import { settle } from "../../core/clock.ts";
import { FlowError } from "../../core/errors.ts";
import type { Reply } from "../../flow/task.ts";
import { httpEndpoint } from "./http_endpoint.ts";
import { errorOf, startEndpoint as start } from "./testing.ts";

const post = { method: "POST" };
const typed = (type: string, body: BodyInit) => ({ body, headers: { "content-type": type } });

Deno.test("an event says all about its request, and only the headers that were named", async () => {
  const { ask, events, sizes } = await start({
    ...post,
    headers: { "X-Request-Id": "", Other: "" },
  });
  await ask({
    path: "/in?a=1&b=x&b=y&__proto__=z",
    body: '{"id":7}',
    headers: { "content-type": "application/json", "x-request-id": "r1", authorization: "secret" },
  }, { id: "9" });
  const [event] = events;
  assert.equal(event!.subject, "orders_in");
  assert.match(String(event!.meta.correlation_id), /^[0-9a-f-]{36}$/);
  assert.deepEqual(sizes, [8]);
  assert.equal(
    JSON.stringify(event!.data),
    JSON.stringify({
      method: "POST",
      path: "/in",
      query: Object.fromEntries([["a", "1"], ["b", ["x", "y"]], ["__proto__", "z"]]),
      params: { id: "9" },
      headers: { "content-type": "application/json", "x-request-id": "r1" },
      payload: { id: 7 },
    }),
  );
});

Deno.test("the payload follows the content-type", async () => {
  const { ask, events } = await start(post);
  const file = new FormData();
  file.append("name", "Ada");
  file.append("tag", "a");
  file.append("tag", "b");
  file.append("cv", new File(["hi"], "cv.txt", { type: "text/plain" }));
  const cases: [RequestInit, unknown][] = [
    [typed("application/json", "[1]"), [1]],
    [typed("application/cloudevents+json; charset=utf-8", '{"a":1}'), { a: 1 }],
    [typed("application/x-www-form-urlencoded", "a=1&b=%C3%A9+x&b=2"), { a: "1", b: ["é x", "2"] }],
    [typed("application/x-www-form-urlencoded", '{"a":1}'), { a: 1 }],
    [typed("application/x-www-form-urlencoded", "{=1"), { "{": "1" }],
    [typed("text/csv", "a,b"), "a,b"],
    [typed("text/plain; charset=iso-8859-1", new Uint8Array([0xe9])), "é"],
    [typed("image/png", new Uint8Array([1, 2])), "AQI="],
    [{ body: new Uint8Array([0x7b, 0x7d]) }, {}],
    [{ body: new Uint8Array([0x68, 0x69]) }, "hi"],
    [typed("application/json", ""), null],
    [{}, null],
    [{ body: file }, {
      name: "Ada",
      tag: ["a", "b"],
      cv: { filename: "cv.txt", content_type: "text/plain", data: "aGk=" },
    }],
  ];
  for (const [init, payload] of cases) {
    assert.equal((await ask(init)).status, 204);
    assert.deepEqual((events.at(-1)!.data as { payload: unknown }).payload, payload);
  }
});

Deno.test("a body that cannot be read is answered 400 and makes no event", async () => {
  const { ask, events } = await start(post);
  const broken = new ReadableStream({ pull: (c) => c.error(new Error("gone")) });
  for (
    const init of [
      typed("application/json", "{"),
      {
        ...typed("application/json", "{"),
        headers: { "content-type": "application/json", "content-length": "1" },
      },
      typed("text/plain; charset=klingon", "x"),
      typed("text/plain", new Uint8Array([0xff])),
      typed("application/json", new Uint8Array([0x22, 0xff, 0x22])),
      {
        ...typed("application/json", new Uint8Array([0x22, 0xff, 0x22])),
        headers: { "content-type": "application/json", "content-length": "3" },
      },
      typed("multipart/form-data; boundary=x", "rubbish"),
      { body: broken },
    ]
  ) {
    const { status, code, message, correlation_id } = await errorOf(await ask(init));
    assert.deepEqual([status, code], [400, "http.body_invalid"]);
    assert.ok(message && correlation_id);
  }
  assert.deepEqual(events, []);
});

Deno.test("a body over the limit is answered 413, announced or not, and not read on", async () => {
  const { ask, events } = await start({ ...post, max_body_bytes: "4B" });
  let pulled = 0;
  let cancelled = 0;
  const endless = () =>
    new ReadableStream({
      pull: (c) => {
        pulled++;
        c.enqueue(new Uint8Array(3));
      },
      cancel: () => void cancelled++,
    }, { highWaterMark: 0 });
  assert.equal((await ask({ body: endless() })).status, 413);
  assert.deepEqual([pulled, cancelled], [2, 1]);
  const announced = { body: endless(), headers: { "content-length": "5" } };
  assert.equal((await errorOf(await ask(announced))).code, "http.body_too_large");
  assert.deepEqual([pulled, cancelled], [2, 2]);
  assert.equal((await ask(typed("text/plain", "1234"))).status, 204);
  assert.equal(events.length, 1);
});

Deno.test("what the flow says becomes the answer", async () => {
  const text = { "content-type": "text/html" };
  const response = (body: Reply & { kind: "response" }) => body;
  const cases: [Reply, number, string | null, string][] = [
    [{ kind: "data", data: { a: 1 } }, 200, "application/json", '{"a":1}'],
    [{ kind: "data", data: "hi" }, 200, "application/json", '"hi"'],
    [{ kind: "data", data: null }, 200, "application/json", "null"],
    [{ kind: "data", data: new Uint8Array([104]) }, 200, "application/octet-stream", "h"],
    [{ kind: "list", items: [] }, 200, "application/json", "[]"],
    [{ kind: "none" }, 204, null, ""],
    [{ kind: "accepted" }, 202, null, ""],
    [
      response({ kind: "response", response: { status: 201, headers: text, body: "<p>" } }),
      201,
      "text/html",
      "<p>",
    ],
    [
      { kind: "response", response: { status: 200, headers: text, body: [1] } },
      200,
      "text/html",
      "[1]",
    ],
    [
      { kind: "response", response: { status: 404, headers: {}, body: "no" } },
      404,
      "application/json",
      '"no"',
    ],
    [{ kind: "response", response: { status: 204, headers: {}, body: "no" } }, 204, null, ""],
    [{ kind: "response", response: { status: 301, headers: {} } }, 301, null, ""],
  ];
  for (const [reply, status, type, body] of cases) {
    const { ask } = await start({}, { reply });
    const answer = await ask();
    assert.deepEqual(
      [answer.status, answer.headers.get("content-type"), await answer.text()],
      [status, type, body],
    );
  }
});

Deno.test("a failure is answered with its code and the id of the event, in words only about the request", async () => {
  const failed = (cause: unknown): Reply => ({ kind: "failed", cause, handled: false });
  const cases: [unknown, number, string, string | null][] = [
    [new FlowError("delivery.timeout", "Too late"), 504, "Too late", null],
    [new FlowError("http.window_full", "Full"), 429, "Full", "1"],
    [new FlowError("throttle.limited", "Slow down"), 429, "Slow down", "1"],
    [new FlowError("throttle.limited", "Slow down", { retryAfter: 4_001 }), 429, "Slow down", "5"],
    [new FlowError("event.not_a_list", "Expected a list"), 500, "Expected a list", null],
    [new FlowError("http.stopping", "Stopping"), 503, "Stopping", "1"],
    [new FlowError("delivery.stopped", "Stopped"), 503, "Stopped", "1"],
    [new FlowError("script.failed", "x is null"), 500, "The flow failed", null],
    [new FlowError("http.unavailable", "GET http://10.0.0.1/t-abc"), 500, "The flow failed", null],
    [new FlowError("task.failed", "pg://u:secret@host"), 500, "The flow failed", null],
    [new Error("secret"), 500, "The flow failed", null],
  ];
  for (const [cause, status, message, wait] of cases) {
    const { ask, events } = await start({}, { reply: failed(cause) });
    const response = await ask();
    assert.equal(response.headers.get("retry-after"), wait);
    const error = await errorOf(response);
    assert.deepEqual([error.status, error.message], [status, message]);
    assert.equal(error.code, cause instanceof FlowError ? cause.code : "task.failed");
    assert.equal(error.correlation_id, events[0]!.meta.correlation_id);
  }
});

Deno.test("a request that the flow does not take is answered, not thrown", async () => {
  const full = new FlowError("http.window_full", "The flow is busy");
  const { ask } = await start({}, { reply: () => Promise.reject(full) });
  assert.equal((await ask()).status, 429);
});

Deno.test("a request that found the route is answered, also when intake ends meanwhile", async () => {
  const body = new TransformStream<Uint8Array, Uint8Array>();
  const { routes, ask, stop, events } = await start({ ...post, method: "POST" });
  assert.equal(routes.length, 1);
  const answer = ask({ method: "POST", body: body.readable });
  let ended = false;
  const stopped = stop().then(() => ended = true);
  assert.equal(routes.length, 0, "nobody else finds it");
  await settle();
  assert.equal(ended, false, "the source runs on for those inside");
  await body.writable.close();
  assert.equal((await answer).status, 204);
  await stopped;
  assert.equal(events.length, 1);
});

function findings(config: Record<string, unknown>): string[] {
  const parsed = v.safeParse(httpEndpoint.config, { endpoint: "/in", ...config });
  return parsed.success ? [] : parsed.issues.map((issue) => issue.message);
}

Deno.test("an endpoint's path is plain text with whole params", () => {
  for (const endpoint of ["/", "/a/", "/a/:id/b/:x_1", "/é/a b"]) {
    assert.deepEqual(findings({ endpoint }), [], endpoint);
  }
  for (
    const endpoint of ["a", "/a?b", "/a/*", "/a/:", "/a/:a-b", "/:a/:a", "/%20", "/{{env.X}}"]
  ) {
    assert.equal(findings({ endpoint }).length, 1, endpoint);
  }
});

Deno.test("streaming answers are refused by name", () => {
  assert.deepEqual(findings({ stream: true }), ['"stream" is not available in this version']);
  assert.deepEqual(findings({ stream: false }), []);
});

Deno.test("two routes that differ in the names of params are one", () => {
  const claims = (config: object) => httpEndpoint.claims!(v.parse(httpEndpoint.config, config));
  assert.deepEqual(claims({ endpoint: "/a/:x/b" }), ["http GET /a/:/b"]);
  assert.deepEqual(claims({ endpoint: "/a/:y/b" }), ["http GET /a/:/b"]);
  assert.deepEqual(claims({ endpoint: "/a", method: "PUT" }), ["http PUT /a"]);
});
