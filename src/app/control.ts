import { Hono } from "hono";
import { errorAnswer } from "../flow/http.ts";

export interface ControlOptions {
  /** Anything JSON can say. */
  readonly status: () => unknown;
}

/** What the CLI asks a running process over its control socket. */
export function controlApp({ status }: ControlOptions): Hono {
  const app = new Hono();
  app.get("/status", (c) => c.json(status() as object));
  app.notFound(() => {
    const message = "The running flowgen does not know this command";
    return errorAnswer(404, { code: "http.not_found", message });
  });
  return app;
}
