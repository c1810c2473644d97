import type { Json } from "./event.ts";

export type HttpMethod = "GET" | "POST" | "PUT" | "DELETE" | "PATCH" | "HEAD";

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
