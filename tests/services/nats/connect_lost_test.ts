/** Connections that are lost for long, or without a word. */
import { acquireNats } from "../../../src/nats/connect.ts";
import { startProxy } from "./proxy.ts";
import { startNats, until } from "./server.ts";

const LIMIT = 60_000;

Deno.test("nats: a server may be away for as long as it likes", async () => {
  await using server = await startNats();
  await using lease = await acquireNats({ url: server.url });
  // More attempts than the client makes by itself.
  const attempts = Promise.withResolvers<void>();
  const watching = (async () => {
    let left = 12;
    for await (const { type } of lease.connection.status()) {
      if (type === "reconnecting" && --left === 0) attempts.resolve();
      if (type === "close") attempts.reject(new Error("the client gave up"));
    }
  })();
  await server.kill();
  await attempts.promise;
  await server.start();
  await lease.ready(LIMIT);
  await lease.connection.flush();
  await lease[Symbol.asyncDispose]();
  await watching;
});

Deno.test("nats: a server that is silent from one moment to the next is noticed", async () => {
  await using server = await startNats();
  await using proxy = startProxy(server.port);
  await using lease = await acquireNats({ url: proxy.url });
  await lease.connection.flush();
  proxy.hold("to_client");
  await until(() => lease.trouble !== null, LIMIT, "the silence goes unnoticed");
  proxy.cut();
  await lease.ready(LIMIT);
  await lease.connection.flush();
});
