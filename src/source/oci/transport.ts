import { type Clock, sleep } from "../../core/clock.ts";
import { FlowError } from "../../core/errors.ts";
import { retryAfter } from "../../core/fetch_errors.ts";
import { Answer, TOTAL, waitFor } from "./answer.ts";

/** `fetch`, or what a test puts in its place. */
export type Fetch = (input: string, init: RequestInit) => Promise<Response>;

export interface TransportOptions {
  readonly fetch: Fetch;
  readonly clock: Clock;
}

export interface Call {
  readonly method: "GET" | "HEAD" | "POST" | "PUT";
  readonly url: URL;
  readonly headers?: Readonly<Record<string, string>>;
  /** Sent to the origin of `url` and to no other. */
  readonly authorization?: string;
  readonly body?: Uint8Array<ArrayBuffer>;
  readonly signal?: AbortSignal;
}

const ATTEMPTS = 3;
/** Milliseconds before the second attempt, doubled for each further one. */
const FIRST_PAUSE = 500;
/** The longest wait that is spent here; a longer one is the caller's to plan, milliseconds. */
const LONGEST_PAUSE = 10_000;
const REDIRECTS = new Set([301, 302, 303, 307, 308]);
const MOST_REDIRECTS = 5;

/**
 * Sends requests: again when the connection fails or the server asks for patience, along redirects
 * without taking credentials to other hosts, and never from TLS to plain HTTP.
 */
export class Transport {
  readonly #options: TransportOptions;

  constructor(options: TransportOptions) {
    this.#options = options;
  }

  /**
   * @returns any answer but those that mean "later".
   * @throws {FlowError} `source.unavailable`, with `retryAfter` where the server named a time
   */
  async send(call: Call): Promise<Answer> {
    let pause = FIRST_PAUSE;
    for (let attempt = 1;; attempt++) {
      const tried = await this.#try(call);
      if (tried instanceof Answer) return tried;
      const wait = Math.max(pause, tried.retryAfter ?? 0);
      if (attempt === ATTEMPTS || wait > LONGEST_PAUSE) throw tried;
      await sleep(this.#options.clock, wait, call.signal);
      call.signal?.throwIfAborted();
      pause *= 2;
    }
  }

  /** One attempt; a transient error is a value. */
  async #try(call: Call): Promise<Answer | FlowError> {
    let answer: Answer;
    try {
      answer = await this.#follow(call);
    } catch (cause) {
      if (cause instanceof FlowError && cause.code === "source.unavailable") return cause;
      throw cause;
    }
    const { status, headers } = answer;
    if (status !== 429 && status < 500) return answer;
    await answer.cancel();
    const wait = retryAfter(headers.get("retry-after"), this.#options.clock.now());
    const why = status === 429 ? "it asks to slow down (429)" : `it answered ${status}`;
    return new FlowError("source.unavailable", `Cannot use ${call.url.host} now: ${why}`, {
      retryAfter: wait,
    });
  }

  async #follow(call: Call): Promise<Answer> {
    let url = call.url;
    for (let hop = 0;; hop++) {
      const answer = await this.#exchange(call, url);
      const location = answer.headers.get("location");
      const moved = REDIRECTS.has(answer.status) && location !== null &&
        (call.method === "GET" || call.method === "HEAD");
      if (!moved) return answer;
      await answer.cancel();
      const next = URL.parse(location, url);
      if (hop === MOST_REDIRECTS || !next || !mayFollow(url, next)) {
        throw new FlowError(
          "source.not_supported",
          `Cannot follow a redirect of ${url.host}` +
            (hop === MOST_REDIRECTS ? `: more than ${MOST_REDIRECTS} in a row` : ""),
          { hint: "redirects must lead to https" },
        );
      }
      url = next;
    }
  }

  async #exchange(call: Call, url: URL): Promise<Answer> {
    const { fetch, clock } = this.#options;
    const { method, body, signal, authorization } = call;
    const abort = new AbortController();
    const headers: Record<string, string> = {
      // A body that was compressed on the way would not have the length and digest it should.
      "accept-encoding": "identity",
      ...call.headers,
      ...(authorization && url.origin === call.url.origin && { authorization }),
    };
    const both = signal ? AbortSignal.any([signal, abort.signal]) : abort.signal;
    const until = clock.monotonic() + TOTAL;
    const options = { clock, abort, signal, host: url.host, until };
    const sent = fetch(url.href, { method, headers, body, redirect: "manual", signal: both });
    return new Answer(await waitFor(sent, options), options);
  }
}

function mayFollow(from: URL, to: URL): boolean {
  return to.protocol === "https:" || (from.protocol === "http:" && to.protocol === "http:");
}
