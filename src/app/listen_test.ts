import assert from "node:assert/strict";
import { settle, TestClock } from "../core/clock.ts";
import { listen } from "./listen.ts";

const hostname = "127.0.0.1";
const fail = (cause: unknown) => {
  throw cause;
};

/** A request handler that tells when it was reached and answers when told to. */
function gate() {
  const reached = Promise.withResolvers<void>();
  const release = Promise.withResolvers<void>();
  const fetch = async () => {
    reached.resolve();
    await release.promise;
    return new Response("done");
  };
  return { reached: reached.promise, release: () => release.resolve(), fetch };
}

Deno.test("a port in use is refused with a hint", async () => {
  const first = await listen({ fetch: () => new Response(), port: 0, hostname, onError: fail });
  await assert.rejects(
    () =>
      listen({
        fetch: () => new Response(),
        port: first.port,
        setting: "http_server.port",
        hostname,
        onError: fail,
      }),
    {
      code: "runtime.port_in_use",
      message: `Cannot listen on port ${first.port}: it is in use`,
      hint: "set http_server.port to another number, or stop the other program",
    },
  );
  await first.stop(0);
});

Deno.test("stopping lets an open request end and takes no new one", async () => {
  const { reached, release, fetch: handler } = gate();
  const clock = new TestClock();
  const server = await listen({ fetch: handler, port: 0, hostname, clock, onError: fail });
  const url = `http://${hostname}:${server.port}/`;
  const answer = fetch(url);
  await reached;
  const stopped = server.stop(1_000);
  await settle();
  await assert.rejects(() => fetch(url));
  release();
  assert.equal(await (await answer).text(), "done");
  await stopped;
});

Deno.test("a request that outlasts the deadline is answered 503", async () => {
  const { reached, release, fetch: handler } = gate();
  const clock = new TestClock();
  const server = await listen({ fetch: handler, port: 0, hostname, clock, onError: fail });
  const answer = fetch(`http://${hostname}:${server.port}/`);
  await reached;
  const stopped = server.stop(1_000);
  await clock.advance(1_000);
  const response = await answer;
  assert.equal(response.status, 503);
  assert.equal((await response.json()).error.code, "http.stopping");
  await stopped;
  release();
});

Deno.test("a handler that throws is answered 500 with an id for the log, not with why", async () => {
  const errors: unknown[][] = [];
  const server = await listen({
    fetch: () => Promise.reject(new Error("secret")),
    port: 0,
    hostname,
    onError: (...error) => errors.push(error),
  });
  const response = await fetch(`http://${hostname}:${server.port}/`);
  assert.equal(response.status, 500);
  const text = await response.text();
  assert.doesNotMatch(text, /secret/);
  const [[cause, id]] = errors as [[unknown, string]];
  assert.match(String(cause), /secret/);
  assert.match(id, /^[0-9a-f-]{36}$/);
  assert.equal(JSON.parse(text).error.correlation_id, id);
  await server.stop(1_000);
});

Deno.test("a unix socket is private, replaces a dead one and goes away with its server", async () => {
  const folder = await Deno.makeTempDir();
  const path = `${folder}/control.sock`;
  // Deno removes the file of a listener it closes; a second link stays, as after a kill.
  const dead = Deno.listen({ transport: "unix", path: `${folder}/dead.sock` });
  await Deno.link(`${folder}/dead.sock`, path);
  dead.close();
  assert.ok((await Deno.lstat(path)).isSocket);

  const server = await listen({ fetch: () => new Response("hello"), path, onError: fail });
  assert.equal((await Deno.lstat(path)).mode! & 0o077, 0);
  const connection = await Deno.connect({ transport: "unix", path });
  await connection.write(
    new TextEncoder().encode("GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"),
  );
  assert.match(await new Response(connection.readable).text(), /hello/);

  await assert.rejects(() => listen({ fetch: () => new Response(), path, onError: fail }), {
    code: "runtime.port_in_use",
    message: `Cannot listen on socket ${path}: it is in use`,
  });
  await server.stop(1_000);
  await assert.rejects(() => Deno.lstat(path), Deno.errors.NotFound);
  await Deno.remove(folder, { recursive: true });
});
