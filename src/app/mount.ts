import { pathOf } from "../flow/http.ts";
import { HEALTH_PATHS } from "./health.ts";

export type Fetch = (request: Request) => Response | Promise<Response>;

/**
 * One `fetch` for platforms that give one listener. Health paths are answered first, also while the
 * endpoints are stopping, so no flow can hide them.
 */
export function mountAll(
  { endpoints, health }: { endpoints: { fetch: Fetch }; health: { fetch: Fetch } },
): Fetch {
  return (request) =>
    HEALTH_PATHS.has(pathOf(request.url)) ? health.fetch(request) : endpoints.fetch(request);
}

/** Webhooks in front of the endpoints of flows, none of which can hide them. */
export function mountWebhooks(
  { endpoints, webhooks, path }: {
    endpoints: { fetch: Fetch };
    webhooks: { fetch: Fetch };
    /** What the paths of webhooks begin with. */
    path: string;
  },
): Fetch {
  return (request) =>
    pathOf(request.url).startsWith(path) ? webhooks.fetch(request) : endpoints.fetch(request);
}
