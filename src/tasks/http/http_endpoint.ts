import * as v from "valibot";
import { FlowError } from "../../core/errors.ts";
import { newEvent, uuid7 } from "../../flow/event.ts";
import { type Endpoints, errorAnswer, HTTP_METHODS } from "../../flow/http.ts";
import { ByteSize } from "../../flow/schema.ts";
import { type CheckContext, defineTask, type SourceOutput } from "../../flow/task.ts";
import { answer, failedResponse } from "./answer.ts";
import { TOO_LARGE } from "./body.ts";
import { BodyIntake } from "./body_intake.ts";
import { readCredentials } from "./credentials.ts";
import { EndpointPath, routeClaim } from "./endpoint_path.ts";
import { makeGuard } from "./guard.ts";
import { locationOf, pickHeaders } from "./request_data.ts";

const Config = v.strictObject({
  endpoint: v.pipe(
    EndpointPath,
    v.description("Path below `http_server.path`, such as `/orders/:id`; starts with `/`."),
  ),
  method: v.pipe(
    v.optional(v.picklist(HTTP_METHODS), "GET"),
    v.description("Method to answer. HEAD requests also reach a GET endpoint."),
  ),
  headers: v.pipe(
    v.optional(
      v.union([
        v.pipe(v.record(v.string(), v.unknown()), v.transform((map) => Object.keys(map))),
        v.array(v.string()),
      ], "Expected a list of header names, or a map whose keys are header names"),
      [],
    ),
    v.description(
      "Names of request headers to copy into the event, in any case. Of a map only the keys count.",
    ),
  ),
  credentials_path: v.pipe(
    v.optional(v.string()),
    v.description(
      "JSON file with `bearer_auth` and/or `basic_auth: { username, password }` that requests must " +
        "bring; `http_server.credentials_path` when left out. Not together with `auth.required`.",
    ),
  ),
  auth: v.pipe(
    v.optional(v.strictObject({ required: v.optional(v.boolean(), false) })),
    v.description(
      "`required: true` asks for a user token that `http_server.auth` accepts, in place of " +
        "credentials; the user is in `event.meta.auth`.",
    ),
  ),
  max_body_bytes: v.pipe(
    v.optional(ByteSize, 10 * 1024 * 1024),
    v.description(
      "Longest body to accept, 10 MiB when left out; longer ones are answered 413. A body has 30 " +
        "seconds to arrive, else the answer is 408.",
    ),
  ),
  stream: v.pipe(
    v.optional(
      v.pipe(v.boolean(), v.check((on) => !on, '"stream" is not available in this version')),
    ),
    v.description("Not available in this version."),
  ),
});
type Config = v.InferOutput<typeof Config>;

/**
 * Takes in HTTP requests and answers with what the flow makes of them.
 *
 * `event.data` is `{ method, path, params, query, headers, payload }`. The payload is JSON as it is, a
 * form as an object, text as text, `null` without a body, and any other body as base64 text. A body
 * without a content-type is JSON if it parses, else text.
 */
export const httpEndpoint = defineTask({
  type: "http_endpoint",
  mode: "source",
  request: true,
  ordered: false,
  summary: "Answers HTTP requests with the result of the flow.",
  config: Config,
  examples: [
    {
      title: "Take in orders as JSON",
      config: { endpoint: "/orders", method: "POST", headers: ["x-request-id"] },
    },
    {
      title: "Look up one order for callers that know the secret",
      config: { endpoint: "/orders/:id", credentials_path: "/etc/flowgen/orders.json" },
    },
  ],
  claims: ({ method, endpoint }) => [routeClaim(method, endpoint)],
  check: (context) => checkServer(context),
  async create(context) {
    checkServer(context);
    const { config, name, clock, flow, services: { endpoints } } = context;
    const guard = makeGuard(
      await credentialsOf(config, endpoints, context.credentials),
      config.auth?.required ? endpoints.auth : undefined,
    );
    const headerNames = new Set([
      "content-type",
      ...config.headers.map((one) => one.toLowerCase()),
    ]);
    const bodies = new BodyIntake(clock, config.max_body_bytes);

    async function handle(
      request: Request,
      params: Readonly<Record<string, string>>,
      output: SourceOutput,
      leave: () => void,
    ): Promise<Response> {
      const now = clock.now();
      let correlation: string | undefined;
      const correlationId = () => correlation ??= uuid7(now);
      try {
        const user = guard && await guard(request, correlationId);
        if (user instanceof Response) return user;

        const body = await bodies.read(request);
        if (body === TOO_LARGE) {
          return errorAnswer(413, {
            code: "http.body_too_large",
            message: `The body is longer than ${config.max_body_bytes} bytes`,
            correlation_id: correlationId(),
          });
        }
        const event = newEvent({
          data: {
            method: request.method,
            ...locationOf(request.url),
            params,
            headers: pickHeaders(request.headers, headerNames),
            payload: body.payload,
          },
          subject: name,
          meta: user ? { auth: { ...user } } : undefined,
        }, now);
        correlation = event.meta.correlation_id as string;
        return answer(await output.request(event, { bytes: body.size }), correlation);
      } catch (cause) {
        return failedResponse(cause, correlationId());
      } finally {
        leave();
      }
    }

    return {
      run: (output) =>
        new Promise((resolve) => {
          // A request that found this route is answered by it, also when the next generation has
          // taken the route over while the body was still coming in.
          let inside = 0;
          let ended = false;
          const leave = () => {
            inside--;
            if (ended && inside === 0) resolve();
          };
          const remove = endpoints.add({
            method: config.method,
            path: config.endpoint,
            flow,
            handle(request, params) {
              inside++;
              return handle(request, params, output, leave);
            },
          });
          const stop = () => {
            remove();
            bodies.stop();
            ended = true;
            if (inside === 0) resolve();
          };
          if (output.signal.aborted) stop();
          else output.signal.addEventListener("abort", stop, { once: true });
        }),
    };
  },
});

/**
 * @throws {FlowError} `config.http_server_disabled`, `config.auth_missing`, `config.auth_conflict`
 */
function checkServer(
  { config, services: { endpoints }, locate }: Pick<
    CheckContext<Config>,
    "config" | "services" | "locate"
  >,
): void {
  if (!endpoints.enabled) {
    throw new FlowError(
      "config.http_server_disabled",
      "Cannot answer requests: the HTTP server is off",
      {
        hint: "set http_server.enabled to true in config.yaml",
        position: locate(["endpoint"]),
      },
    );
  }
  if (config.auth?.required && !endpoints.auth) {
    throw new FlowError(
      "config.auth_missing",
      "Cannot require a user token: http_server.auth is not configured",
      {
        hint: "add http_server.auth to config.yaml, or leave auth.required out",
        position: locate(["auth", "required"]),
      },
    );
  }
  if (config.auth?.required && config.credentials_path !== undefined) {
    throw new FlowError(
      "config.auth_conflict",
      "Cannot ask for credentials and a user token: both come in the header Authorization",
      {
        hint: "leave credentials_path or auth.required out",
        position: locate(["credentials_path"]),
      },
    );
  }
}

function credentialsOf(
  config: Config,
  endpoints: Endpoints,
  checked: (path: string) => string,
) {
  // A user's token stands in for the credentials of the whole server.
  if (config.auth?.required) return undefined;
  if (config.credentials_path !== undefined) {
    return readCredentials(checked(config.credentials_path));
  }
  // The operator's own file, named in config.yaml: the limits for flows do not apply.
  return endpoints.credentialsPath === undefined
    ? undefined
    : readCredentials(endpoints.credentialsPath);
}
