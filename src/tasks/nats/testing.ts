/** Messages and outputs made by hand, for the tests of this room. */
import type { Msg, MsgHdrs, NatsConnection } from "@nats-io/nats-core";
import { headers as noHeaders } from "@nats-io/nats-core";
import { TestClock } from "../../core/clock.ts";
import { FlowError } from "../../core/errors.ts";
import type { Log, LogFields } from "../../core/log.ts";
import type { FlowEvent } from "../../flow/event.ts";
import type { Outcome, SourceOutput } from "../../flow/task.ts";
import type { NatsLease } from "../../nats/connect.ts";
import { type IntakeOptions, MessageIntake } from "./message_intake.ts";
import { TakenMessages } from "./taken.ts";

export function headersOf(values: Readonly<Record<string, string>>): MsgHdrs {
  const headers = noHeaders();
  for (const [name, value] of Object.entries(values)) headers.append(name, value);
  return headers;
}

export interface MessageInit {
  readonly subject?: string;
  readonly data?: string | Uint8Array;
  readonly sequence?: number;
  readonly deliveries?: number;
  readonly headers?: Readonly<Record<string, string>>;
}

/** A message of the stream `S`, for its consumer `d`. */
export function streamMessage(
  { subject = "a", data = "1", sequence = 1, deliveries = 1, headers }: MessageInit = {},
): Msg {
  const bytes = typeof data === "string" ? new TextEncoder().encode(data) : data;
  return {
    subject,
    size: () => bytes.length,
    reply: `$JS.ACK.S.d.${deliveries}.${sequence}.9.1700000000000000000.0`,
    data: bytes,
    headers: headers && headersOf(headers),
  } as unknown as Msg;
}

export interface Emitted {
  readonly event: FlowEvent;
  /** Of an event that was failed. */
  readonly cause?: unknown;
  readonly end: (outcome: Outcome) => void;
}

/** An output that keeps what it gets; `pause` is what `emit` answers with. */
export function handOutput(
  options: { pause?: () => Promise<void> | void } = {},
): SourceOutput & { readonly emitted: Emitted[]; abort(): void } {
  const emitted: Emitted[] = [];
  const controller = new AbortController();
  const never = () => Promise.reject(new Error("nobody waits here"));
  return {
    emitted,
    signal: controller.signal,
    abort: () => controller.abort(),
    emit(event, end) {
      emitted.push({ event, end });
      return options.pause?.();
    },
    deliver: never,
    request: never,
    fail: (event, cause, end) => void emitted.push({ event, cause, end }),
    trouble: () => {},
    window: 1_024,
    windowBytes: 64 * 1024 * 1024,
  };
}

/** A connection made by hand: what was published, and subscriptions to speak through. */
export function handLease(maxPayload = 1_000) {
  const published: { subject: string; text: string; reply?: string }[] = [];
  const decoder = new TextDecoder();
  let listener: (trouble: string | null) => void = () => {};
  let callback: (error: Error | null, message: Msg) => void = () => {};
  let lastMessages: readonly Msg[] = [];
  const connection = {
    publish: (subject: string, payload: Uint8Array, { reply }: { reply?: string } = {}) =>
      void published.push({ subject, text: decoder.decode(payload), reply }),
    subscribe(_: string, options: { callback: typeof callback }) {
      callback = options.callback;
      return {
        unsubscribe: () => {},
        async drain() {
          for (const message of lastMessages) callback(null, message);
        },
      };
    },
    options: {},
    request: () => Promise.resolve({ data: new TextEncoder().encode("{}") }),
  };
  const lease = {
    connection,
    trouble: null,
    server: { maxPayload, jetstream: true },
    ready: () => Promise.resolve(),
    onChange(one: typeof listener) {
      listener = one;
      return () => {};
    },
  } as unknown as NatsLease;
  return {
    lease,
    published,
    come: (message: Msg) => callback(null, message),
    /** What the server has sent already when a subscription is drained. */
    last: (...messages: Msg[]) => void (lastMessages = messages),
    lose: (trouble: string) => listener(trouble),
  };
}

/** A log that keeps its records as `level message`, with their fields. */
export function keptLog(): Log & { readonly records: [string, LogFields][] } {
  const records: [string, LogFields][] = [];
  const at = (level: string) => (message: string, fields: LogFields = {}) =>
    void records.push([`${level} ${message}`, fields]);
  const log = {
    records,
    trace: at("trace"),
    debug: at("debug"),
    info: at("info"),
    warning: at("warning"),
    error: at("error"),
    with: () => log,
  };
  return log;
}

/** An intake whose answers are kept as `sequence answer`. */
export function taking(options: Partial<IntakeOptions> = {}) {
  const answers: string[] = [];
  const decoder = new TextDecoder();
  const connection = {
    publish: (reply: string, payload: Uint8Array) =>
      void answers.push(`${reply.split(".")[5]} ${decoder.decode(payload)}`),
  } as unknown as NatsConnection;
  const clock = new TestClock();
  const taken = new TakenMessages({ connection, clock, ackWait: 30_000 });
  const log = keptLog();
  let rooms = 0;
  const intake = new MessageIntake({
    taken,
    clock,
    log,
    payload: "auto",
    throttle: 0,
    maxDeliver: undefined,
    termPermanent: false,
    delay: (deliveries) => deliveries * 1_000,
    deadLetter: null,
    onRoom: () => void rooms++,
    ...options,
  });
  return {
    answers,
    clock,
    taken,
    log,
    intake,
    get rooms() {
      return rooms;
    },
  };
}

/** How a delivery ends that failed so. */
export const failed = (code: string, more: { retryAfter?: number } = {}) => ({
  ok: false as const,
  cause: new FlowError(code, "No", more),
});
