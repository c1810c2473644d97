import * as v from "valibot";
import { retryAfter } from "../../core/fetch_errors.ts";
import { FlowError } from "../../core/errors.ts";
import { type Data, derive, type Json } from "../../flow/event.ts";
import { HTTP_METHODS } from "../../flow/http.ts";
import { ByteSize, Duration, TemplateMap, TemplateText } from "../../flow/schema.ts";
import { type CheckContext, defineTask } from "../../flow/task.ts";
import { readBounded, readStart, TOO_LARGE } from "./body.ts";
import { type Credentials, readCredentials } from "./credentials.ts";
import { exchange } from "./exchange.ts";
import { renderHeaders } from "./headers.ts";
import { preparePayload, RequestPayload } from "./request_payload.ts";
import { readUrl, takeUserInfo } from "./request_url.ts";
import { Statuses } from "./statuses.ts";

const ResponseType = v.picklist(["json", "text", "bytes"]);

const Config = v.strictObject({
  endpoint: v.pipe(TemplateText, v.description("URL to call, http or https; a template.")),
  method: v.pipe(
    v.optional(v.picklist(HTTP_METHODS), "GET"),
    v.description("Method of the request."),
  ),
  headers: v.pipe(
    v.optional(TemplateMap, {}),
    v.description("Headers of the request; values are templates."),
  ),
  payload: v.pipe(
    v.optional(RequestPayload),
    v.description("What to send: `object`, `input` or `from_event`, and `send_as`."),
  ),
  credentials_path: v.pipe(
    v.optional(v.string()),
    v.description(
      "JSON file with `bearer_auth` or `basic_auth: { username, password }`; bearer goes first.",
    ),
  ),
  timeout: v.pipe(
    v.optional(v.nullable(Duration), "30s"),
    v.description("Time for the whole exchange, connecting included; `null` for no limit."),
  ),
  connect_timeout: v.pipe(
    v.optional(v.nullable(Duration)),
    v.description(
      "Accepted for flows from Flowgen and without effect: the platform does not tell connecting " +
        "from waiting. `timeout` limits both together.",
    ),
  ),
  response_type: v.pipe(
    v.optional(ResponseType, "json"),
    v.description(
      "What the body becomes: `json` (text where it does not parse, `null` when empty), `text`, `bytes`.",
    ),
  ),
  max_response_bytes: v.pipe(
    v.optional(ByteSize, 64 * 1024 * 1024),
    v.description("Longest body to accept, 64 MiB when left out."),
  ),
  retry_statuses: v.pipe(
    v.optional(Statuses, [408, 429, "500..599"]),
    v.description('Statuses to try again after, such as `[429, "500..599"]`; `[]` for none.'),
  ),
});
type Config = v.InferOutput<typeof Config>;

/**
 * Calls an HTTP server for each event; the answer's body is the next data, its status and headers are
 * in `meta.http`. Bytes sent with `from_event` go out as they are.
 */
export const httpRequest = defineTask({
  type: "http_request",
  mode: "async",
  summary: "Sends an HTTP request and goes on with the answer.",
  config: Config,
  examples: [
    {
      title: "Look something up",
      config: { endpoint: "https://api.example.com/orders/{{event.data.id}}" },
    },
    {
      title: "Send events on as JSON, trying again only when told to slow down",
      config: {
        endpoint: "https://hooks.example.com/in",
        method: "POST",
        payload: { from_event: true },
        retry_statuses: [429],
      },
    },
  ],
  check: (context) => checkBody(context),
  async create(context) {
    checkBody(context);
    const { config, name, clock } = context;
    if (typeof config.connect_timeout === "number") {
      context.log.warning("connect_timeout has no effect here; timeout includes connecting", {
        task: name,
      });
    }
    const authorization = config.credentials_path === undefined
      ? undefined
      : headerOf(await readCredentials(context.credentials(config.credentials_path)));

    return async (event, call) => {
      const url = readUrl(config.endpoint.at(event));
      // Paths hold secrets too, such as those of webhooks; where the task stands says which one it was.
      const label = `${config.method} ${url.origin}`;
      const { body, contentType, query } = preparePayload(config.payload, event);
      const headers = renderHeaders(config.headers, event);
      if (contentType && !headers.has("content-type")) headers.set("content-type", contentType);
      const fromUrl = takeUserInfo(url);
      const auth = authorization ?? fromUrl;
      if (auth) headers.set("authorization", auth);
      for (const [key, value] of query ?? []) url.searchParams.append(key, value);

      const limits = { clock, timeout: config.timeout, signal: call.signal, label };
      return await exchange(limits, async (signal) => {
        const response = await fetch(url, { method: config.method, headers, body, signal });
        if (response.status >= 400) {
          throw await statusError(response, label, config.retry_statuses, clock.now());
        }
        const bytes = await readBounded(response.body, config.max_response_bytes);
        if (bytes === TOO_LARGE) {
          throw new FlowError(
            "http.response_too_large",
            `${label} answered more than ${config.max_response_bytes} bytes`,
            { hint: "raise max_response_bytes, or ask for less" },
          );
        }
        const http = { status: response.status, headers: safeHeaders(response.headers) };
        return derive(event, {
          data: dataOf(bytes, config.response_type),
          subject: name,
          meta: { ...event.meta, http },
        });
      });
    };
  },
});

/**
 * Here rather than at the first event: `fetch` would refuse each of them.
 *
 * @throws {FlowError} `config.payload_method`
 */
function checkBody({ config, locate }: Pick<CheckContext<Config>, "config" | "locate">): void {
  const { method, payload } = config;
  if (!payload || payload.send_as === "queryparams") return;
  if (method !== "GET" && method !== "HEAD") return;
  throw new FlowError("config.payload_method", `Cannot send a body with ${method}`, {
    hint: "use send_as: queryparams, or another method such as POST",
    position: locate(["payload"]),
  });
}

function headerOf({ bearer, basic }: Credentials): string | undefined {
  return bearer ?? basic;
}

async function statusError(
  response: Response,
  label: string,
  retries: (status: number) => boolean,
  now: number,
): Promise<FlowError> {
  const start = (await readStart(response.body, 200).catch(() => "")).trim();
  const message = `${label} answered ${response.status}${start && `: ${start}`}`;
  return retries(response.status)
    ? new FlowError("http.status_retry", message, {
      retryAfter: retryAfter(response.headers.get("retry-after"), now),
    })
    : new FlowError("http.status", message);
}

/** Cookies are credentials; they do not belong into events. */
function safeHeaders(headers: Headers): Record<string, string> {
  const safe: Record<string, string> = {};
  for (const [name, value] of headers) {
    if (name !== "set-cookie") safe[name] = value;
  }
  return safe;
}

function dataOf(bytes: Uint8Array, type: v.InferOutput<typeof ResponseType>): Data {
  if (type === "bytes") return bytes;
  const text = new TextDecoder().decode(bytes);
  if (type === "text") return text;
  if (text === "") return null;
  try {
    return JSON.parse(text) as Json;
  } catch {
    return text;
  }
}
