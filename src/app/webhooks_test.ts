import assert from "node:assert/strict";
import { createHmac } from "node:crypto";
import { settle, TestClock } from "../core/clock.ts";
import { silentLog } from "../core/log.ts";
import { EndpointApp } from "./endpoints.ts";
import { mountWebhooks } from "./mount.ts";
import { MOST_BODY, type Webhook, webhookApp, WEBHOOKS } from "./webhooks.ts";

const SECRET = "hunter2";

const sign = (body: string, secret = SECRET) =>
  `sha256=${createHmac("sha256", secret).update(body).digest("hex")}`;

function setUp(webhook: Webhook = { type: "generic", secret: SECRET }, ready = true) {
  const triggered: string[] = [];
  const warnings: unknown[] = [];
  const clock = new TestClock();
  const app = webhookApp({
    webhooks: new Map([["demo", webhook]]),
    path: WEBHOOKS,
    ready: () => ready,
    trigger: (name) => void triggered.push(name),
    log: { ...silentLog, warning: (message, fields) => void warnings.push([message, fields]) },
    clock,
  });
  const call = async (headers: Record<string, string>, init: RequestInit = {}) => {
    const body = init.method === "GET" ? undefined : "{}";
    const request = { method: "POST", body, headers, ...init };
    const response = await app.request("/webhooks/sources/demo", request);
    return [response.status, await response.json()];
  };
  return { app, call, clock, triggered, warnings };
}

Deno.test("calls of GitHub and Gitea are known by the signature of their body", async () => {
  const { call, triggered } = setUp({ type: "github", secret: SECRET });
  const push = { "x-github-event": "push", "x-hub-signature-256": sign("{}") };
  assert.deepEqual(await call(push), [202, { status: "accepted", source: "demo" }]);
  assert.deepEqual(triggered, ["demo"]);
  const ping = { ...push, "x-github-event": "ping" };
  assert.deepEqual(await call(ping), [200, { status: "pong" }]);
  assert.deepEqual(triggered, ["demo"], "a ping asks for nothing");
});

Deno.test("the signature that GitHub documents for its example is the one we compute", async () => {
  // https://docs.github.com/en/webhooks/using-webhooks/validating-webhook-deliveries
  const { call } = setUp({ type: "github", secret: "It's a Secret to Everybody" });
  const signature = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";
  const [status] = await call({ "x-hub-signature-256": signature }, { body: "Hello, World!" });
  assert.equal(status, 202);
});

Deno.test("calls of GitLab are known by their token", async () => {
  const { call, triggered } = setUp({ type: "gitlab", secret: SECRET });
  assert.equal((await call({ "x-gitlab-token": SECRET }))[0], 202);
  assert.equal((await call({ "x-gitlab-token": `${SECRET}!` }))[0], 403);
  assert.equal((await call({ "x-gitlab-token": "" }))[0], 403);
  assert.equal((await call({ "x-hub-signature-256": sign("{}") }))[0], 401);
  assert.deepEqual(triggered, ["demo"]);
});

Deno.test("anybody else signs the body, of a GET the empty one", async () => {
  const { call, triggered } = setUp();
  assert.equal((await call({ "x-signature-256": sign("{}") }))[0], 202);
  assert.equal((await call({ "x-signature-256": sign("") }, { method: "GET" }))[0], 202);
  assert.deepEqual(triggered, ["demo", "demo"]);
});

Deno.test("a call that is not signed, or not by the secret, does nothing", async () => {
  const { call, triggered, warnings } = setUp();
  const cases: [number, Record<string, string>][] = [
    [401, {}],
    [401, { "x-hub-signature-256": sign("{}") }],
    [403, { "x-signature-256": sign("{}", "other") }],
    [403, { "x-signature-256": sign("{ }") }],
    [403, { "x-signature-256": sign("{}").slice(0, -2) }],
    [403, { "x-signature-256": "" }],
  ];
  for (const [wanted, headers] of cases) {
    const [status, { error }] = await call(headers);
    assert.equal(status, wanted, JSON.stringify(headers));
    assert.doesNotMatch(JSON.stringify(error), /hunter2|[0-9a-f]{32}/);
  }
  assert.deepEqual(triggered, []);
  assert.deepEqual(warnings, [
    ["A call of a webhook was refused", { source: "demo", reason: "unsigned" }],
  ], "told once");
});

Deno.test("a name that is not there is not found, whatever the call brings", async () => {
  const { app } = setUp();
  for (const method of ["GET", "POST", "PUT"]) {
    const response = await app.request("/webhooks/sources/dmeo", { method });
    assert.equal(response.status, 404);
    assert.doesNotMatch(await response.text(), /demo/);
  }
  const put = await app.request("/webhooks/sources/demo", { method: "PUT" });
  assert.deepEqual([put.status, put.headers.get("allow")], [405, "GET, POST"]);
  await put.body?.cancel();
});

Deno.test("a secret in a file is read at each call, and nobody gets in without one", async () => {
  const path = await Deno.makeTempFile();
  try {
    const { call, warnings } = setUp({ type: "gitlab", secret_path: path });
    assert.equal((await call({ "x-gitlab-token": "" }))[0], 503);
    await Deno.writeTextFile(path, "first\n");
    assert.equal((await call({ "x-gitlab-token": "first" }))[0], 202);
    await Deno.writeTextFile(path, "second");
    assert.equal((await call({ "x-gitlab-token": "first" }))[0], 403);
    assert.equal((await call({ "x-gitlab-token": "second" }))[0], 202);
    assert.deepEqual(warnings.map((one) => (one as [string])[0]), [
      "Calls of a webhook are refused",
      "A call of a webhook was refused",
    ]);
  } finally {
    await Deno.remove(path);
  }
});

Deno.test("a node that starts or stops takes no calls", async () => {
  const { call, triggered } = setUp(undefined, false);
  assert.equal((await call({ "x-signature-256": sign("{}") }))[0], 503);
  assert.deepEqual(triggered, []);
});

Deno.test("a body that is too long, or does not come, is refused and not kept", async () => {
  const { call, clock, triggered } = setUp();
  let sent = 0;
  const endless = new ReadableStream<Uint8Array<ArrayBuffer>>({
    pull(controller) {
      sent += 1024 * 1024;
      controller.enqueue(new Uint8Array(1024 * 1024));
    },
  });
  const headers = { "x-signature-256": sign("") };
  assert.equal((await call(headers, { body: endless }))[0], 413);
  assert.ok(sent < MOST_BODY + 4 * 1024 * 1024);
  const silent = new ReadableStream<Uint8Array<ArrayBuffer>>();
  const answer = call(headers, { body: silent });
  await settle();
  await clock.advance(30_000);
  assert.equal((await answer)[0], 408);
  const cut = new ReadableStream<Uint8Array<ArrayBuffer>>({
    pull: (controller) => controller.error(new Error("connection reset")),
  });
  assert.equal((await call(headers, { body: cut }))[0], 400);
  assert.deepEqual(triggered, []);
});

Deno.test("no flow can hide a webhook, and other paths are theirs", async () => {
  const { app, triggered } = setUp();
  const endpoints = new EndpointApp();
  const heard: string[] = [];
  for (const path of ["/webhooks/sources/demo", "/webhooks/:any/:name", "/webhooks/sources"]) {
    endpoints.add({
      method: "POST",
      path,
      flow: "thief",
      handle: (request) => {
        heard.push(new URL(request.url).pathname);
        return Promise.resolve(new Response());
      },
    });
  }
  const fetch = mountWebhooks({ endpoints, webhooks: app, path: WEBHOOKS });
  const post = async (path: string) =>
    await fetch(
      new Request(`http://host${path}`, {
        method: "POST",
        body: "{}",
        headers: { "x-signature-256": sign("{}") },
      }),
    );
  assert.equal((await post("/webhooks/sources/demo")).status, 202);
  await post("/webhooks/sources");
  await post("/webhooks/other/demo");
  assert.deepEqual(triggered, ["demo"]);
  assert.deepEqual(heard, ["/webhooks/sources", "/webhooks/other/demo"]);
});
