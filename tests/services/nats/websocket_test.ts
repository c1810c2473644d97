/** In a file of its own: a process speaks either TCP or WebSocket to NATS. */
import assert from "node:assert/strict";
import { systemClock } from "../../../src/core/clock.ts";
import { acquireNats } from "../../../src/nats/connect.ts";
import { openNatsKv } from "../../../src/store/nats_kv.ts";
import { startNats } from "./server.ts";

Deno.test("nats: a WebSocket carries everything, also after the server was restarted", async () => {
  await using server = await startNats({ websocket: true });
  const nats = { url: server.wsUrl };
  await using lease = await acquireNats(nats);
  await using store = await openNatsKv({ nats, bucket: "b", clock: systemClock });
  const value = crypto.getRandomValues(new Uint8Array(65_536));
  const revision = await store.put(["a"], value);
  await server.stop();
  await server.start();
  await lease.ready(20_000);
  assert.deepEqual(await store.get(["a"]), { key: ["a"], value, revision });
});

Deno.test("nats: a server for WebSocket that is not there is told at once", async () => {
  await assert.rejects(acquireNats({ url: "ws://127.0.0.1:1" }), {
    code: "nats.unavailable",
    remedy: "retry",
  });
});

Deno.test("nats: TCP beside WebSocket is refused rather than breaking later", async () => {
  await assert.rejects(acquireNats({ url: "127.0.0.1:4222" }), {
    code: "nats.transport_mixed",
    message: "Cannot connect to NATS at 127.0.0.1:4222 by tcp in a process that uses websocket",
  });
});

Deno.test("nats: TLS files for a WebSocket are refused rather than ignored", async () => {
  const path = await Deno.makeTempFile();
  try {
    const tls = { ca_path: path };
    await assert.rejects(acquireNats({ url: "wss://127.0.0.1:1", tls }), {
      code: "nats.tls_failed",
      message: "Cannot use TLS files for NATS at 127.0.0.1:1",
    });
  } finally {
    await Deno.remove(path);
  }
});
