import assert from "node:assert/strict";
import type { Endpoint, HttpMethod } from "../flow/http.ts";
import { EndpointApp } from "./endpoints.ts";

function endpoint(method: HttpMethod, path: string, text = `${method} ${path}`): Endpoint {
  return {
    method,
    path,
    flow: "demo",
    handle: (_request, params) =>
      Promise.resolve(new Response(`${text} ${JSON.stringify(params)}`, { headers: { x: "1" } })),
  };
}

async function ask(app: EndpointApp, path: string, method = "GET") {
  const response = await app.fetch(new Request(`http://localhost${path}`, { method }));
  return { status: response.status, text: await response.text(), headers: response.headers };
}

Deno.test("an endpoint answers its method and path, with decoded params", async () => {
  const app = new EndpointApp();
  app.add(endpoint("GET", "/orders/:id/lines/:line"));
  const { status, text } = await ask(app, "/orders/a%2Fb%20%C3%A9/lines/100%25?x=1");
  assert.equal(status, 200);
  assert.equal(text, 'GET /orders/:id/lines/:line {"id":"a/b é","line":"100%"}');
});

Deno.test("a fixed path beats a param, part by part from the left", async () => {
  const app = new EndpointApp();
  app.add(endpoint("GET", "/a/:x/c"));
  app.add(endpoint("GET", "/a/b/:y"));
  app.add(endpoint("GET", "/:z/b/c"));
  assert.match((await ask(app, "/a/b/c")).text, /^GET \/a\/b\/:y/);
  app.add(endpoint("GET", "/a/b/c"));
  assert.match((await ask(app, "/a/b/c")).text, /^GET \/a\/b\/c/);
  assert.match((await ask(app, "/a/q/c")).text, /^GET \/a\/:x\/c/);
  assert.match((await ask(app, "/q/b/c")).text, /^GET \/:z\/b\/c/);
});

Deno.test("a path that another method has fixed still reaches a param of this method", async () => {
  const app = new EndpointApp();
  app.add(endpoint("POST", "/a/b"));
  app.add(endpoint("GET", "/a/:x"));
  assert.equal((await ask(app, "/a/b")).text, 'GET /a/:x {"x":"b"}');
});

Deno.test("a trailing slash and an empty param make another path", async () => {
  const app = new EndpointApp();
  app.add(endpoint("GET", "/a"));
  app.add(endpoint("GET", "/b/:x"));
  for (const path of ["/a/", "/b/", "/b", "/b/1/", "//a"]) {
    assert.equal((await ask(app, path)).status, 404, path);
  }
});

Deno.test("an unknown path is answered 404 in JSON", async () => {
  const { status, text } = await ask(new EndpointApp(), "/x");
  assert.equal(status, 404);
  const { code, correlation_id } = JSON.parse(text).error;
  assert.equal(code, "http.not_found");
  assert.match(correlation_id, /^[0-9a-f-]{36}$/);
});

Deno.test("another method is answered 405 with the methods that would do", async () => {
  const app = new EndpointApp();
  app.add(endpoint("POST", "/a/b"));
  app.add(endpoint("GET", "/a/:x"));
  const { status, headers, text } = await ask(app, "/a/b", "DELETE");
  assert.equal(status, 405);
  assert.equal(headers.get("allow"), "GET, HEAD, POST");
  assert.equal(JSON.parse(text).error.code, "http.method_not_allowed");
});

Deno.test("HEAD falls back to GET and has no body", async () => {
  const app = new EndpointApp();
  app.add(endpoint("GET", "/a"));
  const { status, headers, text } = await ask(app, "/a", "HEAD");
  assert.deepEqual([status, headers.get("x"), text], [200, "1", ""]);
  app.add({
    ...endpoint("HEAD", "/a"),
    handle: () => Promise.resolve(new Response(null, { headers: { x: "own" } })),
  });
  assert.equal((await ask(app, "/a", "HEAD")).headers.get("x"), "own");
});

Deno.test("bad percent-encoding is answered 400", async () => {
  const app = new EndpointApp();
  app.add(endpoint("GET", "/a/:x"));
  for (const path of ["/a/%E9", "/%zz", "/a/%"]) {
    const { status, text } = await ask(app, path);
    assert.equal(status, 400, path);
    assert.equal(JSON.parse(text).error.code, "http.path_invalid");
  }
});

Deno.test("an encoded path reaches an endpoint that is written plainly", async () => {
  const app = new EndpointApp();
  app.add(endpoint("GET", "/café/:x"));
  assert.equal((await ask(app, "/caf%C3%A9/1")).status, 200);
});

Deno.test("the prefix stands in front of every path, with or without trailing slash", async () => {
  for (const path of ["/api/v1", "/api/v1/", "api/v1"]) {
    const app = new EndpointApp({ path });
    app.add(endpoint("GET", "/a"));
    assert.equal((await ask(app, "/api/v1/a")).status, 200);
    for (const other of ["/a", "/api/v1", "/api/v1a", "/api/v1x/a"]) {
      assert.equal((await ask(app, other)).status, 404, other);
    }
  }
});

Deno.test("a newer generation takes a route over, and the older one cannot remove it", async () => {
  const app = new EndpointApp();
  const removeOld = app.add(endpoint("GET", "/a/:x", "old"));
  assert.match((await ask(app, "/a/1")).text, /^old/);
  const removeNew = app.add(endpoint("GET", "/a/:y", "new"));
  removeOld();
  assert.equal((await ask(app, "/a/1")).text, 'new {"y":"1"}');
  removeNew();
  removeNew();
  assert.equal((await ask(app, "/a/1")).status, 404);
});

Deno.test("methods of one path may name their params differently", async () => {
  const app = new EndpointApp();
  app.add(endpoint("GET", "/a/:x"));
  app.add(endpoint("POST", "/a/:y"));
  assert.equal((await ask(app, "/a/1")).text, 'GET /a/:x {"x":"1"}');
  assert.equal((await ask(app, "/a/1", "POST")).text, 'POST /a/:y {"y":"1"}');
});

Deno.test("a stopping server answers 503 and says when to come back", async () => {
  const app = new EndpointApp();
  app.add(endpoint("GET", "/a"));
  app.stopping = true;
  const { status, headers } = await ask(app, "/a");
  assert.deepEqual([status, headers.get("retry-after")], [503, "1"]);
});

Deno.test("routes may be added by the thousand", async () => {
  const app = new EndpointApp();
  for (let i = 0; i < 1000; i++) app.add(endpoint("GET", `/tenant/svc${i}/:id`));
  assert.match((await ask(app, "/tenant/svc999/7")).text, /svc999/);
  assert.equal(app.list().length, 1000);
});
