import assert from "node:assert/strict";
import { TestClock } from "../../core/clock.ts";
import type { Endpoint } from "../../flow/http.ts";
import type { Reply } from "../../flow/task.ts";
import { testContext } from "../../flow/testing.ts";
import { httpEndpoint } from "./http_endpoint.ts";

/** An endpoint on a real port: what only a network can do to it. */
async function withEndpoint(
  request: () => Promise<Reply>,
  use: (address: Deno.NetAddr, asked: Promise<void>) => Promise<void>,
  clock = new TestClock(),
): Promise<void> {
  const asked = Promise.withResolvers<void>();
  let route: Endpoint | undefined;
  const config = { endpoint: "/in", method: "POST", max_body_bytes: 1000 };
  const source = await httpEndpoint.create(testContext(httpEndpoint, config, {
    clock,
    services: {
      endpoints: {
        enabled: true,
        credentialsPath: undefined,
        auth: undefined,
        add: (endpoint) => (route = endpoint, () => {}),
      },
    },
  }));
  const intake = new AbortController();
  const never = () => assert.fail("an endpoint only requests");
  const running = source.run({
    signal: intake.signal,
    emit: never,
    deliver: never,
    request,
    fail: never,
    trouble: () => {},
    window: 1,
    windowBytes: 1,
  });
  const server = Deno.serve(
    { port: 0, hostname: "127.0.0.1", onListen() {} },
    (incoming) => {
      const answer = route!.handle(incoming, {});
      asked.resolve();
      return answer;
    },
  );
  try {
    await use(server.addr, asked.promise);
  } finally {
    intake.abort();
    await running;
    await server.shutdown();
  }
}

const url = ({ hostname, port }: Deno.NetAddr) => `http://${hostname}:${port}/in`;
const done = (): Promise<Reply> => Promise.resolve({ kind: "none" });

Deno.test("a server goes on after bodies that are too long, announced or not", async () => {
  await withEndpoint(done, async (address) => {
    const chunk = new Uint8Array(600);
    const body = () =>
      new ReadableStream({
        start: (c) => [1, 2, 3].forEach((n) => n < 3 ? c.enqueue(chunk) : c.close()),
      });
    for (let i = 0; i < 3; i++) {
      for (const one of [new Uint8Array(1001), body()]) {
        const response = await fetch(url(address), { method: "POST", body: one });
        assert.equal(response.status, 413);
        await response.body?.cancel();
      }
      const fits = await fetch(url(address), { method: "POST", body: new Uint8Array(1000) });
      assert.equal(fits.status, 204);
    }
  });
});

Deno.test("a client that goes away in the middle of its body makes no event", async () => {
  const events = { count: 0 };
  const count = () => (events.count++, done());
  await withEndpoint(count, async (address) => {
    const client = await Deno.connect({ hostname: address.hostname, port: address.port });
    await client.write(
      new TextEncoder().encode(
        "POST /in HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 9\r\n\r\n{",
      ),
    );
    client.close();
    const after = await fetch(url(address), { method: "POST" });
    assert.equal(after.status, 204);
  });
  assert.equal(events.count, 1);
});

Deno.test("a client that does not send its body on is answered 408", async () => {
  for (const type of ["application/json", "text/plain"]) {
    const clock = new TestClock();
    await withEndpoint(done, async ({ hostname, port }, asked) => {
      using client = await Deno.connect({ hostname, port });
      const head = `POST /in HTTP/1.1\r\nhost: x\r\ncontent-type: ${type}\r\n`;
      await client.write(new TextEncoder().encode(`${head}content-length: 9\r\n\r\n[`));
      await asked;
      await clock.advance(30_000);
      const answer = new Uint8Array(100);
      const size = await client.read(answer);
      assert.match(new TextDecoder().decode(answer.subarray(0, size!)), /^HTTP\/1\.1 408 /);
    }, clock);
  }
});

Deno.test("a flow goes on when its client has gone", async () => {
  const reached = Promise.withResolvers<void>();
  const finish = Promise.withResolvers<Reply>();
  let finished = false;
  const slow = async () => {
    reached.resolve();
    const reply = await finish.promise;
    finished = true;
    return reply;
  };
  await withEndpoint(slow, async (address) => {
    const leave = new AbortController();
    const answer = fetch(url(address), { method: "POST", signal: leave.signal });
    await reached.promise;
    leave.abort();
    await assert.rejects(answer);
    finish.resolve({ kind: "data", data: 1 });
  });
  assert.ok(finished);
});
