/** The servers that `bench/http.ts` compares, each in a process of its own: `raw` or `endpoint`. */
import { Hono } from "hono";
import { EndpointApp } from "../src/app/endpoints.ts";
import type { FlowEvent, JsonObject } from "../src/flow/event.ts";
import type { SourceOutput } from "../src/flow/task.ts";
import { testContext } from "../src/flow/testing.ts";
import { systemClock } from "../src/core/clock.ts";
import { httpEndpoint } from "../src/tasks/http/http_endpoint.ts";

type Fetch = (request: Request) => Response | Promise<Response>;

/** The least a Hono app can do: read JSON, answer with some of it. */
function raw(): Fetch {
  const app = new Hono();
  app.post("/in", async (c) => {
    const payload = await c.req.json();
    return c.json({ id: payload.id, ok: true });
  });
  return app.fetch as Fetch;
}

/** Our endpoint with a flow that costs nothing, for the share of HTTP alone. */
async function endpoint(): Promise<Fetch> {
  const app = new EndpointApp();
  const config = { endpoint: "/in", method: "POST" };
  const context = testContext(httpEndpoint, config, { services: { endpoints: app } });
  const source = await httpEndpoint.create({ ...context, clock: systemClock });
  const request = (event: FlowEvent) => {
    const { payload } = event.data as { payload: JsonObject };
    return Promise.resolve({ kind: "data" as const, data: { id: payload.id!, ok: true } });
  };
  const output = { signal: new AbortController().signal, request } as unknown as SourceOutput;
  source.run(output);
  return (incoming) => app.fetch(incoming);
}

const serve = Deno.args[0] === "raw" ? raw() : await endpoint();
const onListen = ({ port }: Deno.NetAddr) => console.log(port);
Deno.serve({ port: 0, hostname: "127.0.0.1", onListen }, serve);
