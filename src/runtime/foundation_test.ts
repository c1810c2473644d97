import assert from "node:assert/strict";
import { endpointApp } from "../parts.ts";
import { checkConfig } from "../config/load.ts";
import { systemClock as clock } from "../core/clock.ts";
import { silentLog } from "../core/log.ts";
import { Foundation } from "./foundation.ts";

/** A port of this machine that nobody listens to. */
function closedPort(): number {
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  return listener.addr.port;
}

Deno.test("a node that waits for NATS is no member yet, and says why it waits", async () => {
  const cache = { type: "nats" as const, url: `nats://127.0.0.1:${closedPort()}` };
  const config = checkConfig({ cache });
  const stop = new AbortController();
  const foundation = new Foundation({
    config,
    clock,
    log: silentLog,
    endpoints: endpointApp(config, clock),
    signal: stop.signal,
  });
  const opened = foundation.open();
  opened.catch(() => {});
  while (foundation.waiting === undefined) await new Promise((resolve) => setImmediate(resolve));
  assert.match(foundation.waiting, /^Cannot reach NATS at /);
  assert.deepEqual(foundation.cluster.view(), {
    member: false,
    nodes: [],
    flows: [],
    sources: [],
  });
  assert.equal(foundation.cluster.mayRun(), false);
  stop.abort();
  await assert.rejects(opened, { code: "runtime.stopped" });
  await foundation.close();
});
