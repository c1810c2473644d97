import { formatDuration } from "../../core/duration.ts";
import { FlowError } from "../../core/errors.ts";

/** One setting of a stream or consumer that is not as the flow wants it. */
export interface Change {
  /** As written in the flow file. */
  readonly field: string;
  /** As the server calls it. */
  readonly setting: string;
  readonly from: unknown;
  readonly to: unknown;
}

/** A setting that the server keeps as it was made. `what`: `stream "ORDERS"`. */
export function fixedSetting(
  code: string,
  what: string,
  { field, from, to }: Pick<Change, "field" | "from" | "to">,
  hint: string,
): FlowError {
  return new FlowError(
    code,
    `Cannot change ${field} of ${what} from ${shown(field, from)} to ${shown(field, to)}`,
    { hint },
  );
}

const TIMES = new Set(["max_age", "duplicate_window", "ack_wait"]);

/** As a person would write it in the flow file. */
function shown(field: string, value: unknown): string {
  if (TIMES.has(field) && typeof value === "number") return formatDuration(value / 1e6);
  return typeof value === "string" ? `"${value}"` : String(value);
}

/** The settings to send, by the server's names. */
export function valuesOf(changes: readonly Change[]): Record<string, unknown> {
  return Object.fromEntries(changes.map(({ setting, to }) => [setting, to]));
}
