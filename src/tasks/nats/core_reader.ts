import type { Msg, MsgHdrs } from "@nats-io/nats-core";
import { type Clock, sleep } from "../../core/clock.ts";
import { FlowError } from "../../core/errors.ts";
import type { Log } from "../../core/log.ts";
import type { Random } from "../../core/random.ts";
import { type FlowEvent, isBytes, newEvent } from "../../flow/event.ts";
import type { Outcome, SourceOutput, SourceRun } from "../../flow/task.ts";
import type { NatsLease } from "../../nats/connect.ts";
import { natsError } from "../../nats/errors.ts";
import { DropLog } from "./drop_log.ts";
import { messageMeta, readHeaders } from "./headers.ts";
import { decodePayload, ownBytes, type PayloadMode } from "./payload.ts";
import { type Answer, answerOf, failedAnswer, writeHeaders } from "./service_error.ts";
import { inSessions, lostConnection, PATIENCE } from "./sessions.ts";

export interface CoreReaderOptions {
  readonly lease: NatsLease;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  readonly subject: string;
  readonly queue: string | undefined;
  readonly payload: PayloadMode;
  readonly respond: boolean;
  readonly maxPending: number;
  readonly maxPendingBytes: number;
  readonly headers: () => MsgHdrs;
}

/** For the server to hear that we stop: milliseconds. */
const LAST_MESSAGES = 2_000;

/** Brings what comes on a subject into the flow; what its window cannot take waits, up to a limit. */
export class CoreReader implements SourceRun {
  #pending: Msg[] = [];
  #bytes = 0;
  /** Deliveries that are open. */
  #open = 0;
  #paused = false;
  /** A delivery that ends at once must not start the next one inside of it. */
  #pumping = false;
  readonly #drops: DropLog;
  #emptied: (() => void) | null = null;

  constructor(readonly options: CoreReaderOptions) {
    this.#drops = new DropLog(options.log, options.clock);
  }

  async run(output: SourceOutput): Promise<void> {
    const { clock, random, subject } = this.options;
    try {
      await inSessions({
        output,
        clock,
        random,
        what: `listen on "${subject}"`,
        session: () => this.#session(output),
      });
    } finally {
      this.#drops.flush();
    }
  }

  async #session(output: SourceOutput): Promise<void> {
    const { signal } = output;
    const { lease, subject, queue, clock } = this.options;
    await lease.ready(PATIENCE, signal);
    const over = Promise.withResolvers<void>();
    const stop = () => over.resolve();
    const subscription = lease.connection.subscribe(subject, {
      queue,
      callback: (error, message) => {
        if (error) over.reject(natsError(error, `listen on "${subject}"`));
        else this.#take(message, output);
      },
    });
    const unwatch = lease.onChange((trouble) => {
      if (trouble !== null) over.reject(lostConnection(trouble));
    });
    signal.addEventListener("abort", stop, { once: true });
    if (signal.aborted) stop();
    try {
      output.trouble(null);
      await over.promise;
      // What the server has sent already would be lost; it still belongs to this generation.
      const late = new AbortController();
      await Promise.race([
        subscription.drain().catch(() => {}),
        sleep(clock, LAST_MESSAGES, late.signal),
      ]);
      late.abort();
      await this.#empty();
    } finally {
      subscription.unsubscribe();
      unwatch();
      signal.removeEventListener("abort", stop);
    }
  }

  #take(message: Msg, output: SourceOutput): void {
    const { maxPending, maxPendingBytes } = this.options;
    const size = message.data.length;
    if (
      this.#pending.length >= maxPending ||
      (this.#pending.length > 0 && this.#bytes + size > maxPendingBytes)
    ) {
      this.#drops.add();
      if (this.options.respond) this.#send(message, failedAnswer(busy()));
      return;
    }
    this.#pending.push(message);
    this.#bytes += size;
    this.#pump(output);
  }

  #pump(output: SourceOutput): void {
    if (this.#pumping) return;
    this.#pumping = true;
    const window = output.window;
    while (!this.#paused && this.#open < window) {
      const message = this.#pending.shift();
      if (!message) break;
      this.#bytes -= message.data.length;
      this.#open++;
      const pause = this.#emit(message, output);
      if (!pause) continue;
      this.#paused = true;
      void pause.then(() => {
        this.#paused = false;
        this.#pump(output);
      });
    }
    this.#pumping = false;
    if (this.#pending.length === 0) this.#emptied?.();
  }

  /** Resolves when nothing waits any more. */
  #empty(): Promise<void> {
    if (this.#pending.length === 0) return Promise.resolve();
    return new Promise((resolve) => this.#emptied = resolve);
  }

  #emit(message: Msg, output: SourceOutput): void | Promise<void> {
    const { payload, clock, respond } = this.options;
    const bytes = message.data.length;
    const asks = respond && message.reply !== undefined && message.reply !== "";
    const ended = (outcome: Outcome) => {
      if (asks && !outcome.ok) this.#send(message, failedAnswer(outcome.cause));
      this.#ended(output);
    };
    let event: FlowEvent;
    try {
      event = eventOf(message, decodePayload(payload, message.data, message.subject), clock.now());
    } catch (cause) {
      event = eventOf(message, ownBytes(message.data), clock.now());
      return output.fail(event, cause, ended, { bytes });
    }
    const options = isBytes(event.data) ? undefined : { bytes };
    if (asks) void this.#answer(message, output, event, options);
    else return output.emit(event, ended, options);
  }

  async #answer(
    message: Msg,
    output: SourceOutput,
    event: FlowEvent,
    options: { bytes: number } | undefined,
  ): Promise<void> {
    let answer: Answer;
    try {
      answer = answerOf(await output.request(event, options));
    } catch (cause) {
      answer = failedAnswer(cause);
    }
    this.#send(message, answer);
    this.#ended(output);
  }

  #ended(output: SourceOutput): void {
    this.#open--;
    this.#pump(output);
  }

  #send(message: Msg, { payload, headers }: Answer): void {
    const { log } = this.options;
    if (!message.reply) return;
    try {
      message.respond(payload, { headers: writeHeaders(this.options.headers(), headers) });
    } catch (cause) {
      const { code, message: error } = natsError(cause, `answer a request on "${message.subject}"`);
      log.warning("A request got no answer", { subject: message.subject, code, error });
    }
  }
}

function busy(): FlowError {
  return new FlowError("http.window_full", "Too many requests are under way", {
    hint: "try again later, or raise max_in_flight",
  });
}

function eventOf(message: Msg, data: FlowEvent["data"], now: number): FlowEvent {
  const headers = readHeaders(message.headers);
  const { subject, reply } = message;
  const nats = { subject, ...(reply && { reply }), ...(headers && { headers }) };
  return newEvent({ data, subject, meta: messageMeta(nats, headers) }, now);
}
