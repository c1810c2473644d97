import { FlowError, isTransient, textOf } from "../core/errors.ts";

/** JetStream's own numbers, from the server's list of errors. */
const API_CODES: Record<number, readonly [code: string, hint?: string]> = {
  10039: ["nats.no_jetstream", "enable JetStream for the account of this user"],
  10076: ["nats.no_jetstream", "start the server with JetStream (-js)"],
  10059: ["nats.stream_missing", "create the stream first, or let the task create it"],
  10014: ["nats.consumer_missing"],
  10071: ["nats.conflict"],
  10164: ["nats.conflict"],
  10054: ["nats.message_too_large", "raise the stream's max_msg_size, or send less at once"],
  10065: ["nats.subject_overlap", "give the stream subjects that no other stream takes"],
  10002: ["nats.limit_reached"],
  10023: ["nats.limit_reached"],
  10028: ["nats.limit_reached"],
  10026: ["nats.limit_reached"],
  10027: ["nats.limit_reached"],
  10047: ["nats.limit_reached"],
  // These pass by themselves, although the server sends them with status 400.
  10005: ["nats.unavailable", "as many servers as there are replicas must be up"],
  10124: ["nats.unavailable"],
  10202: ["nats.unavailable"],
  10226: ["nats.unavailable"],
  // Settings of a stream or consumer that the server does not take; it sends them with status 500.
  10012: ["nats.refused"],
  10052: ["nats.refused"],
  10074: ["nats.no_cluster", "set replicas to 1, or let the server be part of a cluster"],
  10077: ["nats.limit_reached", "the stream is full: raise its limits, or let it discard old ones"],
};

/**
 * What a NATS client threw, as an error of ours; `what` completes "Cannot …", such as
 * `publish to orders.new`. Errors of ours stay as they are.
 *
 * - try again: `nats.unavailable`, `nats.timeout`, `nats.no_responders`, `nats.limit_reached`
 * - other answers: `nats.conflict`, `nats.consumer_missing`
 * - mend the configuration: `nats.permission_denied`, `nats.no_jetstream`, `nats.no_cluster`,
 *   `nats.stream_missing`, `nats.subject_overlap`, `nats.refused`
 * - mend the event: `nats.message_too_large`, `nats.subject_invalid`
 * - everything else is a bug: `nats.failed`
 *
 * A timeout and a lost connection leave open whether the server did what it was asked to.
 */
export function natsError(cause: unknown, what: string): FlowError {
  if (cause instanceof FlowError) return cause;
  const [code, hint] = kindOf(cause);
  return new FlowError(code, `Cannot ${what}: ${wordsFor(code, cause)}`, { cause, hint });
}

/**
 * Whether the server may have done what it was asked to, although the call failed: there was no
 * answer. An answer that says no is none of these.
 */
export function isAmbiguous(cause: unknown): boolean {
  if (cause instanceof FlowError) return cause.cause !== undefined && isAmbiguous(cause.cause);
  if (cause instanceof Error && API_ERRORS.has(cause.name)) return false;
  const [code] = kindOf(cause);
  return code === "nats.timeout" || code === "nats.unavailable";
}

const API_ERRORS: ReadonlySet<string> = new Set([
  "JetStreamApiError",
  "StreamNotFoundError",
  "ConsumerNotFoundError",
  "JetStreamStatusError",
]);

// By name rather than by class: the classes would load the client where nobody uses NATS.
function kindOf(cause: unknown): readonly [code: string, hint?: string] {
  if (!(cause instanceof Error)) return ["nats.failed"];
  if (API_ERRORS.has(cause.name)) {
    return apiKind(cause as Error & { code: number; status?: number });
  }
  switch (cause.name) {
    case "TimeoutError":
      return ["nats.timeout"];
    case "NoResponders":
      return ["nats.no_responders"];
    case "RequestError":
      // A request that failed has the reason below it; without one its connection went away.
      return cause.cause instanceof Error && cause.cause.name !== "RequestError"
        ? kindOf(cause.cause)
        : ["nats.unavailable"];
    case "PermissionViolationError":
      return ["nats.permission_denied", "let the user of these credentials do that on the server"];
    case "ClosedConnectionError":
    case "DrainingConnectionError":
    case "ConnectionError":
    case "ProtocolError":
      return ["nats.unavailable"];
    case "AuthorizationError":
    case "UserAuthenticationExpiredError":
      return ["nats.auth_failed"];
    case "JetStreamError":
      // The client's own: it missed the heartbeats of a consumer.
      return ["nats.unavailable"];
    case "JetStreamNotEnabled":
      // The client says so whenever nobody answers, as while a stream has no leader.
      return cause.cause instanceof Error && cause.cause.name !== "JetStreamApiError"
        ? kindOf(cause.cause)
        : ["nats.no_jetstream", "enable JetStream for the account of this user"];
    case "InvalidSubjectError":
      return ["nats.subject_invalid", "use no spaces and no empty parts in a subject"];
    case "InvalidArgumentError":
      return /max_payload/.test(cause.message)
        ? ["nats.message_too_large", "raise the server's max_payload, or send less at once"]
        : ["nats.failed"];
  }
  return isTransient(cause) ? ["nats.unavailable"] : ["nats.failed"];
}

/** Too late, in conflict with one under way, too many at once. */
const TRANSIENT: ReadonlySet<number> = new Set([408, 409, 429]);

function apiKind(
  { code, status = code }: { code: number; status?: number },
): readonly [code: string, hint?: string] {
  const known = API_CODES[code];
  if (known) return known;
  if (TRANSIENT.has(status) || status >= 500) return ["nats.unavailable"];
  return ["nats.refused"];
}

function wordsFor(code: string, cause: unknown): string {
  switch (code) {
    case "nats.timeout":
      return "the server did not answer in time";
    case "nats.no_responders":
      return "nobody answers there";
    case "nats.message_too_large":
      return "the message is larger than the server takes";
    case "nats.no_jetstream":
      return "JetStream is not enabled";
  }
  const text = textOf(cause).trim();
  return text === "" ? "the connection was lost" : text;
}
