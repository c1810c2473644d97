import assert from "node:assert/strict";
import { formatError } from "../core/errors.ts";
import { parseAddress } from "./address.ts";

function refusal(url: string): string {
  try {
    parseAddress(url);
  } catch (cause) {
    return formatError(cause as never);
  }
  return "";
}

Deno.test("an address may leave out what is usual", () => {
  assert.deepEqual(parseAddress("localhost"), {
    servers: ["localhost:4222"],
    transport: "tcp",
    tls: false,
    login: undefined,
    shown: "localhost:4222",
  });
  assert.deepEqual(parseAddress("nats://a:1, b:80 ,nats://[::1]:443").servers, [
    "a:1",
    "b:80",
    "[::1]:443",
  ]);
});

Deno.test("tls and wss ask for encryption, ws and wss for a WebSocket", () => {
  assert.equal(parseAddress("tls://a").tls, true);
  const { servers, transport, tls, shown } = parseAddress("wss://a/nats?key=1");
  assert.deepEqual(servers, ["wss://a:443/nats?key=1"]);
  assert.deepEqual([transport, tls, shown], ["websocket", true, "a:443"]);
  assert.deepEqual(parseAddress("ws://a").servers, ["ws://a:80"]);
});

Deno.test("what stands in front of the host logs in, and is shown nowhere else", () => {
  const { login, servers, shown } = parseAddress("nats://ann:p%40ss%2C@a:1,b:2");
  assert.deepEqual(login, { user: "ann", password: "p@ss," });
  assert.deepEqual(servers, ["a:1", "b:2"]);
  assert.equal(shown, "a:1, b:2");
  assert.deepEqual(parseAddress("t0ken@a").login, { token: "t0ken" });
  assert.deepEqual(parseAddress("u:p@a,u:p@b").login, { user: "u", password: "p" });
});

Deno.test("an address that cannot be used is told without its secrets", () => {
  assert.equal(
    refusal("http://ann:secret@a:1?key=secret"),
    'nats.url_invalid\nCannot use the NATS address "http://a:1"\nhint: use nats://, tls://, ws:// or wss://',
  );
  assert.equal(
    refusal("ann:secret@a:port"),
    'nats.url_invalid\nCannot use the NATS address "a:port"\n' +
      'hint: write host and port, such as "localhost:4222"',
  );
  assert.match(refusal("nats://a/path"), /write host and port/);
  assert.match(refusal(" , "), /write one such as "localhost:4222"/);
  assert.match(refusal("ws://a,nats://b"), /for all servers, or for none/);
  assert.equal(
    refusal("ann:secret@a,bob:secret@b"),
    'nats.url_invalid\nCannot use the NATS address "a,b"\n' +
      "hint: write the same user in front of every server, or use credentials_path",
  );
  assert.equal(
    refusal("ann:100%@a"),
    'nats.url_invalid\nCannot use the NATS address "a"\nhint: write % in user and password as %25',
  );
});
