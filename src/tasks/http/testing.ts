import assert from "node:assert/strict";
import type { TestClock } from "../../core/clock.ts";
import type { FlowEvent } from "../../flow/event.ts";
import type { Endpoint, Endpoints } from "../../flow/http.ts";
import type { Reply, SourceOutput } from "../../flow/task.ts";
import { testContext } from "../../flow/testing.ts";
import { httpEndpoint } from "./http_endpoint.ts";

export interface EndpointGiven {
  reply?: Reply | ((event: FlowEvent) => Reply | Promise<Reply>);
  endpoints?: Partial<Endpoints>;
  clock?: TestClock;
}

/** A running endpoint whose flow is `reply`. */
export async function startEndpoint(
  config: Record<string, unknown>,
  { reply, endpoints, clock }: EndpointGiven = {},
) {
  const events: FlowEvent[] = [];
  const sizes: (number | undefined)[] = [];
  const routes: Endpoint[] = [];
  const context = testContext(httpEndpoint, { endpoint: "/in", ...config }, {
    name: "orders_in",
    clock,
    services: {
      endpoints: {
        enabled: true,
        credentialsPath: undefined,
        auth: undefined,
        add: (endpoint) => {
          routes.push(endpoint);
          return () => void routes.splice(routes.indexOf(endpoint), 1);
        },
        ...endpoints,
      },
    },
  });
  const source = await httpEndpoint.create(context);
  const intake = new AbortController();
  const output: SourceOutput = {
    window: 1,
    windowBytes: 1,
    fail: () => {},
    trouble: () => {},
    signal: intake.signal,
    emit: () => assert.fail("an endpoint only requests"),
    deliver: () => assert.fail("an endpoint only requests"),
    async request(event, options) {
      events.push(event);
      sizes.push(options?.bytes);
      return typeof reply === "function" ? await reply(event) : reply ?? { kind: "none" };
    },
  };
  const running = source.run(output);
  const route = routes[0]!;
  return {
    events,
    sizes,
    routes,
    route,
    ask: (init: RequestInit & { path?: string } = {}, params = {}) => {
      const url = `http://localhost${init.path ?? "/in"}`;
      return route.handle(new Request(url, { method: route.method, ...init }), params);
    },
    stop: async () => {
      intake.abort();
      await running;
    },
  };
}

export async function errorOf(response: Response) {
  return { status: response.status, ...(await response.json()).error };
}
