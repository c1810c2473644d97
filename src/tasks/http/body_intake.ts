import type { Clock, Timer } from "../../core/clock.ts";
import { formatDuration } from "../../core/duration.ts";
import { FlowError } from "../../core/errors.ts";
import type { Json } from "../../flow/event.ts";
import { readBounded, TOO_LARGE } from "./body.ts";
import { type BodyKind, bodyKind, bytesPayload, decodeText, textPayload } from "./payload.ts";

/** Time for a body to arrive, milliseconds. */
export const REQUEST_BODY_TIMEOUT = 30_000;
/** What bodies on their way have left when intake ends, milliseconds. */
export const LAST_BODIES_TIMEOUT = 5_000;
/** Bodies of one endpoint on their way at once, and their bytes; one larger body may pass alone. */
export const MOST_BODIES = 1_024;
export const MOST_BODY_BYTES = 64 * 1024 * 1024;

/**
 * Announced lengths up to this are read by the platform itself, which is the fastest; but it keeps
 * what has arrived of a body that we gave up until its client leaves, so longer ones are not.
 */
const READ_AT_ONCE = 64 * 1024;

export interface RequestBody {
  readonly payload: Json;
  /** Bytes as they came. */
  readonly size: number;
}

const EMPTY: RequestBody = { payload: null, size: 0 };

/** A body on its way. */
interface Arriving {
  readonly deadline: number;
  /** Announced, or what has come where that is more. */
  bytes: number;
  /** Ends the reading with this error. */
  fail(cause: FlowError): void;
}

/**
 * Reads the bodies of one endpoint. The flow's window counts events, so what is not one yet is counted
 * here: how many bodies are on their way, how large they are, and for how long.
 */
export class BodyIntake {
  /** Oldest first, so that the first is also the next to be late. */
  readonly #arriving = new Set<Arriving>();
  #bytes = 0;
  /** Of the first, or of one that has gone meanwhile. */
  #timer: Timer | null = null;
  /** When those on their way must be there because intake has ended. */
  #end = Infinity;

  /** @param limit Longest body, bytes. */
  constructor(readonly clock: Clock, readonly limit: number) {}

  /**
   * The payload of a request, or that it is longer than the limit.
   *
   * @throws {FlowError} `http.window_full` before anything is read, or when the length was not
   * announced; `http.body_invalid`, `http.body_timeout`, `http.stopping`.
   */
  async read(request: Request): Promise<RequestBody | typeof TOO_LARGE> {
    const length = request.headers.get("content-length");
    if (length === "0" || (length === null && request.body === null)) return EMPTY;
    const announced = length === null ? NaN : Number(length);
    if (announced > this.limit) {
      await request.body?.cancel();
      return TOO_LARGE;
    }
    if (this.#arriving.size >= MOST_BODIES || !this.#hasRoom(announced || 0)) {
      await request.body?.cancel();
      throw windowFull();
    }
    const deadline = this.clock.monotonic() + REQUEST_BODY_TIMEOUT;
    const one: Arriving = { deadline, bytes: announced || 0, fail() {} };
    this.#arriving.add(one);
    this.#bytes += one.bytes;
    if (!this.#timer) this.#setTimer();
    const type = request.headers.get("content-type");
    const kind = bodyKind(type);
    try {
      // Deno's server never hands on more than the length that was announced, so there is nothing to
      // count.
      if (announced <= READ_AT_ONCE && kind === "json") {
        const bytes = await new Promise<Uint8Array>((resolve, reject) => {
          one.fail = reject;
          request.bytes().then(resolve, reject);
        });
        return { payload: textPayload(kind, decodeText(bytes, null)), size: announced };
      }
      return await this.#payloadOf(request, type, kind, one);
    } catch (cause) {
      if (cause instanceof FlowError) throw cause;
      throw new FlowError("http.body_invalid", "The body did not arrive completely", { cause });
    } finally {
      this.#arriving.delete(one);
      this.#bytes -= one.bytes;
      if (this.#end < Infinity) this.#setTimer();
    }
  }

  /** Intake has ended: what is on its way must be there soon. */
  stop(): void {
    this.#end = this.clock.monotonic() + LAST_BODIES_TIMEOUT;
    this.#setTimer();
  }

  async #payloadOf(request: Request, type: string | null, kind: BodyKind, one: Arriving) {
    const abort = new AbortController();
    one.fail = (cause) => abort.abort(cause);
    const bytes = await readBounded(request.body, this.limit, {
      signal: abort.signal,
      arrived: (size) => this.#grow(one, size),
    });
    if (bytes === TOO_LARGE) return TOO_LARGE;
    const payload = kind === "bytes" || kind === "multipart"
      ? await bytesPayload(kind, bytes, type!)
      : textPayload(kind, decodeText(bytes, type));
    return { payload, size: bytes.byteLength };
  }

  /** A body has come to `size` bytes, maybe more than it announced. */
  #grow(one: Arriving, size: number): void {
    const more = size - one.bytes;
    if (more <= 0) return;
    if (this.#arriving.size > 1 && !this.#hasRoom(more)) one.fail(windowFull());
    one.bytes += more;
    this.#bytes += more;
  }

  #hasRoom(bytes: number): boolean {
    return this.#arriving.size === 0 || this.#bytes + bytes <= MOST_BODY_BYTES;
  }

  #setTimer(): void {
    this.#timer?.clear();
    const [first] = this.#arriving;
    const wait = first && Math.min(first.deadline, this.#end) - this.clock.monotonic();
    this.#timer = wait === undefined ? null : this.clock.after(wait, () => this.#sweep());
  }

  /** Gives up those that are late. */
  #sweep(): void {
    const now = this.clock.monotonic();
    for (const one of this.#arriving) {
      if (one.deadline > now && this.#end > now) break;
      this.#arriving.delete(one);
      one.fail(one.deadline > now ? stopping() : timedOut());
    }
    this.#setTimer();
  }
}

function windowFull(): FlowError {
  return new FlowError("http.window_full", "Too many requests are under way", {
    hint: "try again later",
  });
}

function stopping(): FlowError {
  return new FlowError("http.stopping", "The flow is stopping", { hint: "try again" });
}

function timedOut(): FlowError {
  const time = formatDuration(REQUEST_BODY_TIMEOUT);
  return new FlowError("http.body_timeout", `The body did not arrive within ${time}`);
}
