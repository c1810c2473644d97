import { errorToJson, type ErrorView, type FlowError } from "../core/errors.ts";
import type { TaskCount } from "../engine/flow_run.ts";

export type FlowState = "running" | "standby" | "degraded" | "invalid" | "disabled" | "stopped";

/** How one flow is, for `flowgen status`, the health endpoints and embedders. */
export interface FlowStatus {
  readonly identity: string;
  /** Where it came from: `files`. */
  readonly source: string;
  readonly file: string;
  readonly state: FlowState;
  /** RFC 3339. */
  readonly since: string;
  /** First characters of the digest; `null` when the wanted version could not even be read. */
  readonly desired: string | null;
  /** `null` when nothing runs. */
  readonly running: string | null;
  /** Deliveries under way. */
  readonly open: number;
  readonly tasks: readonly TaskCount[];
  /** Of an elected flow: the node that runs it, `null` when nobody does. */
  readonly owner?: string | null;
  /** Of an elected flow: the fencing token of its owner. */
  readonly epoch?: number;
  readonly error?: ErrorView;
}

export function shortVersion(digest: string): string {
  return digest.slice(0, 12);
}

export function errorOf(error: FlowError | undefined): Pick<FlowStatus, "error"> {
  return error ? { error: errorToJson(error) } : {};
}
