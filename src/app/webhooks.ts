import { Hono } from "hono";
import { type Clock, systemClock } from "../core/clock.ts";
import { FlowError, textOf } from "../core/errors.ts";
import type { Log } from "../core/log.ts";
import { errorAnswer } from "../flow/http.ts";

/** `webhook` of one source. One of the two secrets is there. */
export interface Webhook {
  readonly type: "github" | "gitlab" | "generic";
  readonly secret?: string;
  /** Read at each call, so that a secret can be replaced while the node runs. */
  readonly secret_path?: string;
}

export interface WebhookOptions {
  /** By the name of the source. */
  readonly webhooks: ReadonlyMap<string, Webhook>;
  /** Where they are found; ends with `/`. */
  readonly path: string;
  /** Whether calls are taken now. */
  readonly ready: () => boolean;
  /** Checks a source soon; several calls may become one check. */
  readonly trigger: (name: string) => void;
  readonly log: Log;
  readonly clock?: Clock;
}

/** Below `http_server.path`, since that is what a proxy in front passes on. */
export const WEBHOOKS = "/webhooks/sources/";

/** What GitHub sends at most. */
export const MOST_BODY = 25 * 1024 * 1024;
/** Milliseconds for a body to arrive. */
const PATIENCE = 30_000;

/** The header with `sha256=<hex>`, the HMAC of the body by the secret. */
const SIGNATURES = { github: "x-hub-signature-256", generic: "x-signature-256" } as const;
const GITLAB_TOKEN = "x-gitlab-token";

/**
 * Takes calls that say that a source has changed, each with a proof that its sender knows the secret.
 * What the call says is not looked at: a check finds out what has changed. GET does the same as POST;
 * its signature is that of an empty body.
 */
export function webhookApp(options: WebhookOptions): Hono {
  const { webhooks, path, ready, trigger, log } = options;
  /** Sources whose trouble was told, until a call succeeds. */
  const told = new Set<string>();
  const tell = (name: string, message: string, reason: string) => {
    if (told.has(name)) return;
    told.add(name);
    log.warning(message, { source: name, reason });
  };
  const app = new Hono();
  app.on(["GET", "POST"], `${path}:name`, async (c) => {
    const name = c.req.param("name")!;
    const webhook = webhooks.get(name);
    if (!webhook) return notFound();
    if (!ready()) return refuse(503, "http.stopping", "The node is starting or stopping");
    let secret: string;
    try {
      secret = await secretOf(webhook);
    } catch (cause) {
      tell(name, "Calls of a webhook are refused", textOf(cause));
      return refuse(503, "http.unavailable", "The secret of this webhook cannot be read");
    }
    const checked = await check(c.req.raw, webhook.type, secret, options.clock ?? systemClock);
    if (checked !== "good") {
      tell(name, "A call of a webhook was refused", checked);
      return refusal(checked, webhook.type);
    }
    told.delete(name);
    if (c.req.header("x-github-event") === "ping") return c.json({ status: "pong" });
    trigger(name);
    return c.json({ status: "accepted", source: name }, 202);
  });
  app.all(`${path}:name`, (c) => {
    if (!webhooks.has(c.req.param("name")!)) return notFound();
    const message = `This path answers GET and POST, not ${c.req.method}`;
    return errorAnswer(405, { code: "http.method_not_allowed", message }, { allow: "GET, POST" });
  });
  app.notFound(() => notFound());
  return app;
}

async function secretOf({ secret, secret_path: path }: Webhook): Promise<string> {
  const text = path === undefined ? secret! : await readSecret(path);
  if (text !== "") return text;
  throw new FlowError("config.secret_empty", "The secret is empty");
}

async function readSecret(path: string): Promise<string> {
  try {
    return (await Deno.readTextFile(path)).trimEnd();
  } catch (cause) {
    throw new FlowError("config.secret_unreadable", `Cannot read ${path}`, { cause });
  }
}

type Checked = "good" | "unsigned" | "wrong" | "too large" | "too slow" | "cut off";

async function check(
  request: Request,
  type: Webhook["type"],
  secret: string,
  clock: Clock,
): Promise<Checked> {
  // Built in, and not wanted by programs without webhooks.
  const { createHash, createHmac, timingSafeEqual } = await import("node:crypto");
  if (type === "gitlab") {
    const token = request.headers.get(GITLAB_TOKEN);
    await request.body?.cancel();
    if (token === null) return "unsigned";
    // Digests have one length, so that comparing takes one time.
    const digest = (text: string) => createHash("sha256").update(text).digest();
    return timingSafeEqual(digest(token), digest(secret)) ? "good" : "wrong";
  }
  const signature = request.headers.get(SIGNATURES[type]);
  if (signature === null) {
    await request.body?.cancel();
    return "unsigned";
  }
  const hmac = createHmac("sha256", secret);
  const read = await readThrough(request.body, clock, (part) => hmac.update(part));
  if (read !== "whole") return read;
  const wanted = hmac.digest();
  const given = /^sha256=([0-9a-f]{64})$/i.exec(signature)?.[1];
  if (given === undefined) return "wrong";
  return timingSafeEqual(Uint8Array.fromHex(given), wanted) ? "good" : "wrong";
}

/** Nothing is kept of a body: whoever sent it has proven nothing yet. */
async function readThrough(
  body: ReadableStream<Uint8Array> | null,
  clock: Clock,
  take: (part: Uint8Array) => void,
): Promise<"whole" | "too large" | "too slow" | "cut off"> {
  if (!body) return "whole";
  const reader = body.getReader();
  let late = false;
  const timer = clock.after(PATIENCE, () => {
    late = true;
    reader.cancel().catch(() => {});
  });
  try {
    for (let size = 0;;) {
      const part = await reader.read().catch(() => null);
      if (late) return "too slow";
      if (part === null) return "cut off";
      const { done, value } = part;
      if (done) return "whole";
      size += value.length;
      if (size > MOST_BODY) {
        await reader.cancel().catch(() => {});
        return "too large";
      }
      take(value);
    }
  } finally {
    timer.clear();
  }
}

function refusal(reason: Exclude<Checked, "good">, type: Webhook["type"]): Response {
  const header = type === "gitlab" ? GITLAB_TOKEN : SIGNATURES[type];
  switch (reason) {
    case "unsigned":
      return refuse(401, "http.unauthorized", `The call has no header "${header}"`);
    case "wrong":
      return refuse(403, "http.forbidden", `The header "${header}" does not fit the secret`);
    case "too large":
      return refuse(413, "http.body_too_large", `The body is longer than ${MOST_BODY} bytes`);
    case "too slow":
      return refuse(408, "http.timeout", "The body did not arrive in time");
    case "cut off":
      return refuse(400, "http.body_invalid", "The body did not arrive as a whole");
  }
}

function notFound(): Response {
  return refuse(404, "http.not_found", "There is no such webhook");
}

function refuse(status: number, code: string, message: string): Response {
  const headers = status === 503 ? { "retry-after": "5" } : undefined;
  return errorAnswer(status, { code, message }, headers);
}
