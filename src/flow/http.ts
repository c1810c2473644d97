import type { Json } from "./event.ts";

export const HTTP_METHODS = ["GET", "POST", "PUT", "DELETE", "PATCH", "HEAD"] as const;
export type HttpMethod = typeof HTTP_METHODS[number];

/** One route that a running flow answers. */
export interface Endpoint {
  readonly method: HttpMethod;
  /** Below the server's prefix; starts with `/`, may hold `:params`. */
  readonly path: string;
  /** Identity of the flow, for logs and the status. */
  readonly flow: string;
  /** `params` are percent-decoded. Must not throw. */
  handle(request: Request, params: Readonly<Record<string, string>>): Promise<Response>;
}

/** Who a verified user is. */
export interface UserIdentity {
  readonly user_id: string;
  readonly claims: Json;
}

/** The HTTP side as endpoint tasks see it. */
export interface Endpoints {
  /** Whether `http_server` is on; tasks refuse to start otherwise. */
  readonly enabled: boolean;
  /** Fallback for tasks without `credentials_path` of their own. */
  readonly credentialsPath: string | undefined;
  /** `http_server.auth`; `undefined` when not configured. */
  readonly auth: UserAuth | undefined;
  /**
   * Takes the route over, from an older generation too. The returned function gives it up and does
   * nothing once someone newer holds it.
   */
  add(endpoint: Endpoint): () => void;
}

export interface UserAuth {
  /** @throws {FlowError} `http.unauthorized` for a bad token, `http.unavailable` without keys. */
  verify(token: string): Promise<UserIdentity>;
}

/** What goes into `{ error: … }` of an answer. The id leads to what the log says of the request. */
export interface ErrorBody {
  readonly code: string;
  readonly message: string;
  readonly correlation_id?: string;
}

/** An error as JSON, in the shape that all our listeners use. */
export function errorAnswer(
  status: number,
  error: ErrorBody,
  headers?: Readonly<Record<string, string>>,
): Response {
  return new Response(JSON.stringify({ error }), {
    status,
    headers: { "content-type": "application/json", ...headers },
  });
}

/** Two paths that differ only in the names of their params have one shape. */
export function routeShape(path: string): string {
  return path.split("/").map((part) => part.startsWith(":") ? ":" : part).join("/");
}

/** The path of an absolute URL as it was sent: no host, no query. */
export function pathOf(url: string): string {
  const start = pathStart(url);
  return start < 0 ? "/" : url.slice(start, pathEnd(url, start));
}

/** The query of an absolute URL as it was sent, without its `?`. */
export function queryOf(url: string): string {
  const end = pathEnd(url, Math.max(0, pathStart(url)));
  if (url[end] !== "?") return "";
  const hash = url.indexOf("#", end);
  return url.slice(end + 1, hash < 0 ? url.length : hash);
}

function pathStart(url: string): number {
  return url.indexOf("/", url.indexOf("://") + 3);
}

function pathEnd(url: string, start: number): number {
  const query = url.indexOf("?", start);
  const hash = url.indexOf("#", start);
  if (hash >= 0 && (query < 0 || hash < query)) return hash;
  return query < 0 ? url.length : query;
}
