import { Hono } from "hono";

export interface ControlOptions {
  /** Anything JSON can say. */
  readonly status: () => unknown;
}

/** What the CLI asks a running process over its control socket. */
export function controlApp({ status }: ControlOptions): Hono {
  const app = new Hono();
  app.get("/status", (c) => c.json(status() as object));
  app.notFound((c) =>
    c.json({
      error: {
        code: "http.not_found",
        message: "The running flowgen does not know this command",
      },
    }, 404)
  );
  return app;
}
