import { Hono } from "hono";
import * as v from "valibot";
import { errorToJson, FlowError, isTransient, toFlowError } from "../core/errors.ts";
import { errorAnswer } from "../flow/http.ts";
import type { Published, WorkspaceView } from "../flow/workspace.ts";

/** What the CLI may ask of a running node. */
export interface Control {
  /** Anything JSON can say. */
  status(): unknown;
  workspaces(): Promise<readonly WorkspaceView[]>;
  /** @throws {FlowError} as `Workspaces.rollback` */
  rollback(workspace: string, version?: string): Promise<Published>;
  /** @throws {FlowError} `workspace.of_source`, and as `Workspaces.remove` */
  remove(workspace: string): Promise<void>;
  /** Anything JSON can say. */
  sources(): readonly unknown[];
  /** @throws {FlowError} `source.*`, `workspace.*`, `store.*` */
  sync(source: string, options: { force: boolean }): Promise<Published>;
}

const Rollback = v.strictObject({ version: v.optional(v.pipe(v.string(), v.nonEmpty())) });
const Sync = v.strictObject({ force: v.optional(v.boolean(), false) });

/** What the CLI asks a running process over its control socket. */
export function controlApp(control: Control): Hono {
  const app = new Hono();
  app.get("/status", (c) => c.json(control.status() as object));
  app.get("/workspaces", async (c) => c.json(await control.workspaces()));
  app.post("/workspaces/:name/rollback", async (c) => {
    const { version } = await bodyOf(c.req.raw, Rollback);
    return c.json(await control.rollback(c.req.param("name"), version));
  });
  app.post("/workspaces/:name/remove", async (c) => {
    await control.remove(c.req.param("name"));
    return c.json({});
  });
  app.get("/sources", (c) => c.json(control.sources()));
  app.post("/sources/:name/sync", async (c) => {
    const { force } = await bodyOf(c.req.raw, Sync);
    return c.json(await control.sync(c.req.param("name"), { force }));
  });
  app.notFound(() => {
    const message = "The running flowgen does not know this command";
    return errorAnswer(404, { code: "http.not_found", message });
  });
  app.onError((cause, c) => {
    // Only the owner of the socket reads this, so nothing is held back.
    const error = toFlowError(cause, "control.failed");
    return c.json({ error: errorToJson(error) }, isTransient(error) ? 503 : 422);
  });
  return app;
}

/** An empty body stands for no options. */
async function bodyOf<S extends v.GenericSchema>(
  request: Request,
  schema: S,
): Promise<v.InferOutput<S>> {
  const text = await request.text();
  let body: unknown;
  try {
    body = text === "" ? {} : JSON.parse(text);
  } catch {
    body = undefined;
  }
  const parsed = v.safeParse(schema, body);
  if (parsed.success) return parsed.output;
  throw new FlowError("control.body_invalid", "Cannot read what is asked for", {
    hint: "the command may be of another version than the running node",
  });
}
