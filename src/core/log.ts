import { getLogger } from "@logtape/logtape";

export type LogLevel = "trace" | "debug" | "info" | "warning" | "error";
export type LogFields = Record<string, unknown>;

/** What the code logs to. Messages are sentences without values; values are fields. */
export interface Log {
  trace(message: string, fields?: LogFields): void;
  debug(message: string, fields?: LogFields): void;
  info(message: string, fields?: LogFields): void;
  warning(message: string, fields?: LogFields): void;
  error(message: string, fields?: LogFields): void;
  /** The same log with fields that every record carries. */
  with(fields: LogFields): Log;
}

/** A log of one room: `logFor("engine")`. Where records go is set once, by the CLI or the embedder. */
export function logFor(room: string): Log {
  return getLogger(["flowgen", room]);
}

/** For tests and embedders who want silence. */
export const silentLog: Log = {
  trace() {},
  debug() {},
  info() {},
  warning() {},
  error() {},
  with: () => silentLog,
};
