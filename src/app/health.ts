import { Hono } from "hono";
import { errorAnswer } from "../flow/http.ts";

/** What the health endpoints need to know. */
export interface HealthView {
  /** Whether the first reconcile has ended. */
  readonly ready: boolean;
  /** What the node waits for before it can be ready. */
  readonly waiting?: string;
  /** Flows that should run and do not, or not as they should. */
  readonly not_running: readonly NotRunning[];
  /** Sources of flows that are in trouble. */
  readonly sources?: readonly { readonly name: string; readonly error: string }[];
}

export interface NotRunning {
  readonly flow: string;
  /** Such as `invalid` or `degraded`. */
  readonly state: string;
  readonly error?: string;
}

/** Paths of the health app, for a listener that is shared with endpoints. */
export const HEALTH_PATHS: ReadonlySet<string> = new Set([
  "/livez",
  "/healthz",
  "/readyz",
  "/cluster",
]);

export interface HealthOptions {
  readonly health: () => HealthView;
  /** Nodes, and who owns which elected flow; anything JSON can say. */
  readonly cluster: () => object;
}

/**
 * `/livez` and `/healthz` say that the process answers, `/readyz` that the first reconcile has ended.
 * A flow that does not run is named but does not make the node unready: the others still work.
 */
export function healthApp({ health, cluster }: HealthOptions): Hono {
  const app = new Hono();
  app.get("/livez", (c) => c.json({ status: "ok" }));
  app.get("/healthz", (c) => c.json({ status: "ok" }));
  app.get("/readyz", (c) => {
    const { ready, waiting, not_running, sources = [] } = health();
    const body = {
      status: ready ? "ready" : "starting",
      waiting,
      not_running,
      ...(sources.length > 0 && { sources }),
    };
    return c.json(body, ready ? 200 : 503);
  });
  app.get("/cluster", (c) => c.json(cluster()));
  app.notFound(() => errorAnswer(404, { code: "http.not_found", message: "Not found" }));
  return app;
}
