import type { Clock } from "../../core/clock.ts";
import { FlowError } from "../../core/errors.ts";
import { retryAfter } from "../../core/fetch_errors.ts";
import { answerChallenge } from "./auth.ts";
import { type Patience, patiently } from "./patience.ts";
import { showUrl } from "./url.ts";

export type Fetch = (url: URL, init: RequestInit) => Promise<Response>;

export interface GitHttpOptions {
  readonly url: URL;
  /** The credentials file as JSON; read again whenever the server asks. */
  readonly credentials?: () => Promise<unknown>;
  readonly clock: Clock;
  readonly fetch?: Fetch;
}

export interface GitRequest {
  /** Below the repository, such as `/git-upload-pack`. */
  readonly path: string;
  readonly body?: Uint8Array;
  /** What to send as `Git-Protocol`; left out for servers that only know the oldest. */
  readonly protocol?: "version=2";
}

export interface Answer {
  readonly contentType: string;
  /** The body, as it comes in. */
  readonly chunks: AsyncIterable<Uint8Array>;
}

const MOST_HOPS = 5;
/** Credentials are read once for what we still have, once because they may have been renewed. */
const MOST_CHALLENGES = 2;
const IDLE = 30_000;
const TOTAL = 10 * 60_000;

/**
 * Requests to one repository. Credentials are sent when the server asked for them, from then on with
 * every request, and never to another host than the configured one.
 */
export class GitHttp {
  /** Where the repository is, after redirects. */
  #base: URL;
  #authorization: string | undefined;
  readonly #patience: Patience;

  constructor(readonly options: GitHttpOptions) {
    this.#base = options.url;
    this.#patience = { clock: options.clock, idle: IDLE, total: TOTAL };
  }

  /** As it may appear in messages. */
  get label(): string {
    return showUrl(this.options.url);
  }

  /** Forgets where redirects led to. */
  restart(): void {
    this.#base = this.options.url;
  }

  /**
   * @param read Takes the answer in; the connection ends with it.
   * @throws {FlowError} `source.unavailable`, `source.auth_failed`, `source.credentials_invalid`,
   * `source.not_found`, `source.not_supported`, and what `read` throws.
   */
  send<T>(
    request: GitRequest,
    signal: AbortSignal | undefined,
    read: (answer: Answer) => Promise<T>,
  ): Promise<T> {
    return patiently(this.#patience, this.label, signal, async (signal, alive) => {
      const response = await this.#request(request, signal);
      alive();
      return await read({
        contentType: response.headers.get("content-type") ?? "",
        chunks: chunksOf(response, alive),
      });
    });
  }

  async #request(request: GitRequest, signal: AbortSignal): Promise<Response> {
    const { fetch = globalThis.fetch } = this.options;
    let challenges = 0;
    let hops = 0;
    for (;;) {
      const response = await fetch(new URL(this.#base.href + request.path), {
        method: request.body ? "POST" : "GET",
        headers: this.#headers(request),
        body: request.body as Uint8Array<ArrayBuffer> | undefined,
        redirect: "manual",
        signal,
      });
      if (response.status === 200) return response;
      await response.body?.cancel();
      if (response.status === 401 && challenges++ < MOST_CHALLENGES) await this.#answer(response);
      else if (isRedirect(response) && hops++ < MOST_HOPS) this.#follow(response, request);
      else throw this.#failure(response);
    }
  }

  #headers({ path, body, protocol }: GitRequest): Headers {
    // Some hosts send everyone who is not called git to their web pages.
    const headers = new Headers({ "user-agent": "git/flowgen" });
    if (body) {
      headers.set("content-type", `application/x-${path.slice(1)}-request`);
      headers.set("accept", `application/x-${path.slice(1)}-result`);
    }
    if (protocol) headers.set("git-protocol", protocol);
    if (this.#authorization && this.#isHome) headers.set("authorization", this.#authorization);
    return headers;
  }

  get #isHome(): boolean {
    return this.#base.origin === this.options.url.origin;
  }

  /** @throws {FlowError} `source.auth_failed` when there is nothing new to answer with */
  async #answer(response: Response): Promise<void> {
    const { credentials } = this.options;
    if (!this.#isHome) {
      throw this.#authFailed(
        `${showUrl(this.#base)}, where it leads to, asks for credentials`,
        `write ${showUrl(this.#base)} as the address if it may have them`,
      );
    }
    if (!credentials) {
      throw this.#authFailed(
        "it asks for credentials",
        "set credentials_path; many hosts also ask when there is no such repository",
      );
    }
    const content = await credentials().catch((cause) => {
      if (cause instanceof FlowError) throw cause;
      throw new FlowError("source.credentials_invalid", "Cannot read the Git credentials", {
        hint: "check the file that credentials_path names",
        // A parser quotes what it could not read.
        cause: cause instanceof SyntaxError ? undefined : cause,
      });
    });
    const answer = answerChallenge(response.headers.get("www-authenticate"), content);
    if (answer === this.#authorization) {
      this.#authorization = undefined;
      throw this.#authFailed(
        "it refuses the credentials",
        "renew the token in the credentials file; it is read again each time",
      );
    }
    this.#authorization = answer;
  }

  #authFailed(reason: string, hint: string): FlowError {
    const message = `Cannot read from ${this.label}: ${reason}`;
    return new FlowError("source.auth_failed", message, { hint });
  }

  #unavailable(reason: string, retryAfter?: number): FlowError {
    const message = `Cannot read from ${this.label}: ${reason}`;
    return new FlowError("source.unavailable", message, { retryAfter });
  }

  #follow(response: Response, request: GitRequest): void {
    const target = URL.parse(
      response.headers.get("location") ?? "",
      this.#base.href + request.path,
    );
    const whole = target?.href ?? "";
    // It moved after we found it; the next read looks for it from the beginning.
    if (request.body) throw this.#unavailable("it has moved");
    const secure = target?.protocol === "https:" || this.#base.protocol === "http:";
    if (!secure || !whole.endsWith(request.path)) throw this.#failure(response);
    const base = new URL(whole.slice(0, -request.path.length));
    base.username = base.password = "";
    this.#base = base;
  }

  #failure(response: Response): FlowError {
    const { status, headers } = response;
    const wait = retryAfter(headers.get("retry-after"), this.options.clock.now());
    if (status === 401 || (status === 403 && wait === undefined)) {
      const hint = "check that the token is valid and may read this repository";
      return this.#authFailed(`it answered ${status}`, hint);
    }
    const message = `Cannot read from ${this.label}: it answered ${status}`;
    if (status === 404 || status === 410) {
      return new FlowError("source.not_found", message, {
        hint:
          "check the address; private repositories also answer so when the token may not read them",
      });
    }
    if (status === 403 || status === 408 || status === 429 || status >= 500) {
      return this.#unavailable(`it answered ${status}`, wait);
    }
    return new FlowError("source.not_supported", message, {
      hint: isRedirect(response)
        ? "write the address that it leads to, with https"
        : "check that the address is that of a Git repository",
    });
  }
}

function isRedirect({ status, headers }: Response): boolean {
  return [301, 302, 303, 307, 308].includes(status) && headers.has("location");
}

async function* chunksOf(response: Response, alive: () => void): AsyncGenerator<Uint8Array> {
  for await (const chunk of response.body ?? []) {
    alive();
    yield chunk;
  }
}
