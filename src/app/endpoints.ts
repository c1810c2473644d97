import { type Clock, systemClock } from "../core/clock.ts";
import { uuid7 } from "../flow/event.ts";
import {
  type Endpoint,
  type Endpoints,
  errorAnswer,
  pathOf,
  routeShape,
  type UserAuth,
} from "../flow/http.ts";
import { normalPath, Routes } from "./routes.ts";

export interface EndpointOptions {
  readonly enabled?: boolean;
  /** `http_server.path`: what stands in front of every endpoint's own path. */
  readonly path?: string;
  readonly credentialsPath?: string;
  readonly auth?: UserAuth;
  readonly clock?: Clock;
}

/** Answers requests with the endpoints of the running flows, by method and path. */
export class EndpointApp implements Endpoints {
  readonly enabled: boolean;
  readonly credentialsPath: string | undefined;
  readonly auth: UserAuth | undefined;
  /** While true every request is answered 503. */
  stopping = false;
  readonly #clock: Clock;
  readonly #prefix: string;
  readonly #endpoints = new Map<string, Endpoint>();
  /** `null`: something changed since it was built. */
  #routes: Routes | null = null;

  constructor(options: EndpointOptions = {}) {
    const { enabled = true, path = "", credentialsPath, auth, clock = systemClock } = options;
    this.#clock = clock;
    this.enabled = enabled;
    this.credentialsPath = credentialsPath;
    this.auth = auth;
    const prefix = path.replace(/\/+$/, "");
    this.#prefix = prefix === "" || prefix.startsWith("/") ? prefix : `/${prefix}`;
  }

  add(endpoint: Endpoint): () => void {
    const key = `${endpoint.method} ${routeShape(endpoint.path)}`;
    this.#endpoints.set(key, endpoint);
    this.#routes = null;
    return () => {
      if (this.#endpoints.get(key) !== endpoint) return;
      this.#endpoints.delete(key);
      this.#routes = null;
    };
  }

  /** Endpoints by flow, for the status. */
  list(): Endpoint[] {
    return [...this.#endpoints.values()];
  }

  fetch(request: Request): Response | Promise<Response> {
    if (this.stopping) {
      return this.#refuse(503, "http.stopping", "The server is stopping", { "retry-after": "1" });
    }
    try {
      return this.#answer(request);
    } catch (cause) {
      if (!(cause instanceof URIError)) throw cause;
      return this.#refuse(400, "http.path_invalid", "Cannot decode the path of the URL");
    }
  }

  #answer(request: Request): Response | Promise<Response> {
    const path = this.#below(normalPath(pathOf(request.url)));
    if (path === null) return this.#notFound();
    // Built here and not in `add`, so that starting 1,000 flows builds it once.
    this.#routes ??= new Routes(this.#endpoints.values());
    const found = this.#routes.find(request.method, path);
    if (found.endpoint) {
      const answer = found.endpoint.handle(request, found.params);
      return request.method === "HEAD" ? answer.then(withoutBody) : answer;
    }
    if (found.allowed.length === 0) return this.#notFound();
    const allow = found.allowed.join(", ");
    const message = `This path answers ${allow}, not ${request.method}`;
    return this.#refuse(405, "http.method_not_allowed", message, { allow });
  }

  #notFound(): Response {
    return this.#refuse(404, "http.not_found", "No flow answers this path");
  }

  #refuse(
    status: number,
    code: string,
    message: string,
    headers?: Readonly<Record<string, string>>,
  ): Response {
    const correlation_id = uuid7(this.#clock.now());
    return errorAnswer(status, { code, message, correlation_id }, headers);
  }

  #below(path: string): string | null {
    if (this.#prefix === "") return path;
    if (!path.startsWith(this.#prefix)) return null;
    return path[this.#prefix.length] === "/" ? path.slice(this.#prefix.length) : null;
  }
}

async function withoutBody(response: Response): Promise<Response> {
  await response.body?.cancel();
  return new Response(null, { status: response.status, headers: response.headers });
}
