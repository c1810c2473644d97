/** What helps against an error: mend the configuration or the event, wait, or report a bug. */
export type Remedy = "config" | "event" | "retry" | "bug";

/** A place in a file; lines and columns count from 1. */
export interface Position {
  readonly file: string;
  readonly line: number;
  readonly column: number;
}

export interface FlowErrorOptions {
  /** What to write or do instead; one sentence without a closing period. */
  readonly hint?: string;
  /** The error underneath, left as it came. */
  readonly cause?: unknown;
  readonly position?: Position;
  /** Milliseconds the other side asked us to wait before the next attempt (`Retry-After`). */
  readonly retryAfter?: number;
}

/**
 * What helps, by code. A code that is not listed is looked up by its area (`script.*`), and an area
 * that is not listed is a bug of ours. Retries, exit codes and HTTP answers go by this table.
 */
const REMEDIES: Record<string, Remedy> = {
  "config.*": "config",
  "flow.*": "config",
  "resource.*": "config",
  "task.*": "config",
  "task.preparing": "retry",
  "task.prepare_timeout": "retry",
  "template.*": "event",
  "template.syntax": "config",
  "event.*": "event",
  "convert.*": "event",
  "script.*": "event",
  "script.child_lost": "retry",
  "script.child_start": "retry",
  "script.not_allowed": "config",
  "http.*": "event",
  "http.credentials_invalid": "config",
  "http.unavailable": "retry",
  "http.timeout": "retry",
  "http.status_retry": "retry",
  "source.*": "config",
  "source.unavailable": "retry",
  "store.*": "config",
  "store.unavailable": "retry",
  "store.conflict": "retry",
  "store.ttl_invalid": "config",
  "store.closed": "bug",
  "store.call_invalid": "bug",
  "store.parts_missing": "bug",
  "cluster.fenced": "retry",
  "cluster.lease_invalid": "config",
  "cluster.stands_already": "bug",
  "workspace.*": "config",
  "workspace.busy": "retry",
  "workspace.blob_missing": "retry",
  "workspace.gone": "retry",
  "nats.*": "config",
  "nats.unavailable": "retry",
  "nats.timeout": "retry",
  "nats.no_responders": "retry",
  "nats.limit_reached": "retry",
  "nats.conflict": "retry",
  "nats.consumer_missing": "retry",
  "nats.message_too_large": "event",
  "nats.subject_invalid": "event",
  "nats.key_invalid": "event",
  "nats.object_too_large": "event",
  "nats.object_missing": "event",
  "nats.object_corrupt": "event",
  "nats.no_stream": "retry",
  "nats.too_many_deliveries": "event",
  "nats.request_failed": "event",
  "nats.request_retry": "retry",
  "nats.failed": "bug",
  "queue.*": "config",
  "queue.full": "retry",
  "queue.event_too_large": "event",
  "queue.deliveries_exceeded": "event",
  "delivery.timeout": "event",
  "delivery.stopped": "retry",
  "delivery.settled_twice": "bug",
  "throttle.limited": "event",
  "runtime.*": "config",
  "control.*": "config",
};

/** An error with a code that tests and users can rely on. See `REMEDIES` for what each code means. */
export class FlowError extends Error {
  override readonly name = "FlowError";
  readonly hint?: string;
  readonly position?: Position;
  readonly retryAfter?: number;

  constructor(readonly code: string, message: string, options: FlowErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.hint = options.hint;
    this.position = options.position;
    this.retryAfter = options.retryAfter;
  }

  get remedy(): Remedy {
    return REMEDIES[this.code] ?? REMEDIES[`${this.code.split(".")[0]}.*`] ?? "bug";
  }

  /** The same error with a position, where it has none yet. */
  at(position: Position | undefined): FlowError {
    if (!position || this.position) return this;
    return new FlowError(this.code, this.message, {
      hint: this.hint,
      cause: this.cause,
      position,
      retryAfter: this.retryAfter,
    });
  }
}

/** A broken promise of our own code. */
export class InternalError extends FlowError {
  constructor(
    code: string,
    message = "This is a defect of flowgen; please report it",
    options: FlowErrorOptions = {},
  ) {
    super(code, message, options);
  }
}

/** Several findings of one check, each with its own position. */
export class FlowErrors extends Error {
  override readonly name = "FlowErrors";
  constructor(readonly findings: readonly FlowError[]) {
    super(findings.map((finding) => finding.message).join("; "));
  }
}

/** Any thrown value as a `FlowError`; what is not ours becomes `fallback` with the value as cause. */
export function toFlowError(cause: unknown, fallback = "task.failed"): FlowError {
  if (cause instanceof FlowError) return cause;
  if (cause instanceof FlowErrors && cause.findings.length > 0) return cause.findings[0]!;
  return new FlowError(fallback, textOf(cause), { cause });
}

/** What a thrown value says; anything can be thrown, also what cannot be made text. */
export function textOf(cause: unknown): string {
  try {
    return cause instanceof Error ? String(cause.message) : String(cause);
  } catch {
    return "something that has no text was thrown";
  }
}

/** Whether trying the same thing again can help: by code, or by what the platform calls it. */
export function isTransient(cause: unknown): boolean {
  return cause instanceof FlowError ? cause.remedy === "retry" : isPlatformFault(cause);
}

/** Faults of network and disk that Deno reports by class rather than by a code of ours. */
function isPlatformFault(cause: unknown): boolean {
  if (!(cause instanceof Error)) return false;
  return cause instanceof Deno.errors.ConnectionRefused ||
    cause instanceof Deno.errors.ConnectionReset ||
    cause instanceof Deno.errors.ConnectionAborted ||
    cause instanceof Deno.errors.BrokenPipe ||
    cause instanceof Deno.errors.TimedOut ||
    cause instanceof Deno.errors.UnexpectedEof ||
    cause instanceof Deno.errors.Busy ||
    cause.name === "TimeoutError";
}

/**
 * The text a person sees:
 *
 * ```text
 * flows/orders.yaml:12:9 config.unknown_key
 * Unknown key "max_agee" in task "drop_stale": expected one of "field", "max_age"
 * hint: did you mean "max_age"?
 * ```
 */
export function formatError(error: FlowError): string {
  const at = error.position;
  const head = at ? `${at.file}:${at.line}:${at.column} ${error.code}` : error.code;
  return error.hint
    ? `${head}\n${error.message}\nhint: ${error.hint}`
    : `${head}\n${error.message}`;
}

/** An error as JSON. */
export interface ErrorView {
  readonly code: string;
  readonly message: string;
  readonly hint?: string;
  readonly position?: Position;
}

/** The JSON form of the same, for `--json` and the status. */
export function errorToJson(error: FlowError): ErrorView {
  return {
    code: error.code,
    message: error.message,
    ...(error.hint && { hint: error.hint }),
    ...(error.position && { position: error.position }),
  };
}
