import assert from "node:assert/strict";
import { EndpointApp } from "./endpoints.ts";
import { healthApp } from "./health.ts";
import { mountAll } from "./mount.ts";

const READY = { ready: true, not_running: [] };

const cluster = () => ({ member: true });

Deno.test("a living process is healthy before it is ready", async () => {
  const app = healthApp({ health: () => ({ ready: false, not_running: [] }), cluster });
  assert.equal((await app.request("/livez")).status, 200);
  assert.equal((await app.request("/healthz")).status, 200);
  const ready = await app.request("/readyz");
  assert.equal(ready.status, 503);
  assert.deepEqual(await ready.json(), { status: "starting", not_running: [] });
});

Deno.test("a node is ready after its first reconcile and names the flows that do not run", async () => {
  const not_running = [{ flow: "a/b", state: "invalid", error: "Unknown key" }];
  const response = await healthApp({ health: () => ({ ready: true, not_running }), cluster })
    .request("/readyz");
  assert.equal(response.status, 200);
  assert.deepEqual(await response.json(), { status: "ready", not_running });
});

Deno.test("one fetch serves health and endpoints, and health goes on while endpoints stop", async () => {
  const endpoints = new EndpointApp();
  endpoints.add({
    method: "GET",
    path: "/orders",
    flow: "demo",
    handle: () => Promise.resolve(new Response("orders")),
  });
  const fetch = mountAll({ endpoints, health: healthApp({ health: () => READY, cluster }) });
  const ask = async (path: string) => await fetch(new Request(`http://localhost${path}`));
  assert.equal((await ask("/readyz?verbose")).status, 200);
  assert.equal(await (await ask("/orders")).text(), "orders");
  endpoints.stopping = true;
  assert.equal((await ask("/orders")).status, 503);
  assert.equal((await ask("/livez")).status, 200);
});

Deno.test("an unready node says what it waits for, and what it knows of the cluster", async () => {
  const health = () => ({ ready: false, waiting: "NATS is away", not_running: [] });
  const app = healthApp({ health, cluster });
  const ready = await app.request("/readyz");
  assert.equal(ready.status, 503);
  assert.equal((await ready.json()).waiting, "NATS is away");
  assert.deepEqual(await (await app.request("/cluster")).json(), { member: true });
});
