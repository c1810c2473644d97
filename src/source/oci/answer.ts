import type { Clock } from "../../core/clock.ts";
import { formatDuration } from "../../core/duration.ts";
import { FlowError } from "../../core/errors.ts";
import { Gatherer } from "../gather.ts";
import { hintOf, reasonOf } from "../../core/fetch_errors.ts";

/** Silence after which the other side counts as gone, milliseconds: before and between bytes. */
export const SILENCE = 30_000;
/** Time for one request with its whole answer, milliseconds: a byte now and then is no answer either. */
export const TOTAL = 10 * 60_000;

export interface AnswerOptions {
  readonly clock: Clock;
  /** Ends the exchange, body included. */
  readonly abort: AbortController;
  /** The reader's own signal. */
  readonly signal?: AbortSignal;
  /** When the exchange must be over, on the monotonic clock. */
  readonly until: number;
  /** The server as it may appear in messages. */
  readonly host: string;
}

/** What a server said. Either the body is read to its end, or `cancel` is called. */
export class Answer {
  readonly #response: Response;
  readonly #options: AnswerOptions;

  constructor(response: Response, options: AnswerOptions) {
    this.#response = response;
    this.#options = options;
  }

  get status(): number {
    return this.#response.status;
  }

  get headers(): Headers {
    return this.#response.headers;
  }

  /** The length of the body as announced; `null` when it is not. */
  get length(): number | null {
    const header = this.headers.get("content-length");
    return header !== null && /^\d+$/.test(header) ? Number(header) : null;
  }

  /** @throws {FlowError} `source.unavailable` when the connection ends or falls silent */
  async *chunks(): AsyncGenerator<Uint8Array<ArrayBuffer>> {
    const { body } = this.#response;
    if (!body) return;
    const reader = body.getReader();
    let ended = false;
    try {
      for (;;) {
        const { value, done } = await waitFor(reader.read(), this.#options);
        ended = done;
        if (done) return;
        yield value;
      }
    } finally {
      if (!ended) {
        this.#options.abort.abort();
        await reader.cancel().catch(() => {});
      }
    }
  }

  /**
   * The whole body.
   *
   * @param what For the message: `the manifest of …`.
   * @throws {FlowError} `source.too_large`, `source.unavailable`
   */
  async bytes(limit: number, what: string): Promise<Uint8Array<ArrayBuffer>> {
    const body = new Gatherer();
    for await (const part of this.chunks()) {
      if (body.length + part.length > limit) {
        throw new FlowError(
          "source.too_large",
          `Cannot read ${what}: it has more than ${limit} bytes`,
        );
      }
      body.add(part);
    }
    return body.whole();
  }

  async cancel(): Promise<void> {
    await this.#response.body?.cancel().catch(() => {});
  }
}

/**
 * Waits for the other side, as long as it is not silent for too long.
 *
 * @throws {FlowError} `source.unavailable`; the signal's reason when that has fired
 */
export async function waitFor<T>(
  step: Promise<T>,
  { clock, abort, signal, host, until }: AnswerOptions,
): Promise<T> {
  const left = until - clock.monotonic();
  let late: string | undefined;
  const timer = clock.after(Math.max(0, Math.min(SILENCE, left)), () => {
    late = left < SILENCE
      ? `it took longer than ${formatDuration(TOTAL)}`
      : `no answer within ${formatDuration(SILENCE)}`;
    abort.abort();
  });
  try {
    return await step;
  } catch (cause) {
    signal?.throwIfAborted();
    const reason = late ?? reasonOf(cause);
    const message = `Cannot use ${host} now: ${reason}`;
    throw new FlowError("source.unavailable", message, {
      hint: isPlain(reason) ? PLAIN : hintOf(reason),
      cause,
    });
  } finally {
    timer.clear();
  }
}

const PLAIN = "for a registry without TLS set plain_http, or --plain-http where you push";

/** Whether what answered does not speak TLS, in the platform's words. */
function isPlain(reason: string): boolean {
  return reason.includes("InvalidContentType");
}
