import type { Position } from "../core/errors.ts";
import type { Resources } from "./resource.ts";
import type { RetryPolicy } from "./schema.ts";
import type { TaskDefinition } from "./task.ts";

/** Which events a task takes from those it depends on. */
export type When = "success" | "error" | "always";

/** How a request source answers; left out, the shape follows from what happened. */
export type ReplyShape = "one" | "list" | "none";

/** One task of a flow file, checked against its definition. Durations are milliseconds. */
export interface TaskEntry {
  readonly type: string;
  readonly name: string;
  readonly definition: TaskDefinition;
  /** Output of the definition's schema. */
  readonly config: unknown;
  /** Names as written; `undefined` when the field is absent, `[]` when it says "no parent". */
  readonly dependsOn?: readonly string[];
  readonly when: When;
  readonly retry?: RetryPolicy;
  readonly concurrency?: number;
  readonly ordered: boolean;
  readonly maxInFlight?: number;
  readonly maxInFlightBytes?: number;
  readonly ackTimeout?: number;
  readonly reply?: ReplyShape;
  /**
   * Position of a field, by its path below the task's map (`["depends_on", 0]`; `[]` is the task). With
   * `line` and `column` (from 1): that place inside the text of the field, for scripts.
   */
  locate(path: readonly (string | number)[], line?: number, column?: number): Position;
}

/** A flow file that fits the schema. Its graph is checked by the engine's plan. */
export interface Flow {
  /** Path below its root without the extension: `demo/reader`. Unique among running flows. */
  readonly identity: string;
  /** As shown to people, such as `flows/demo/reader.yaml`. */
  readonly file: string;
  readonly name?: string;
  readonly labels: Readonly<Record<string, unknown>>;
  readonly enabled: boolean;
  readonly requireLeaderElection: boolean;
  readonly tasks: readonly TaskEntry[];
  /** SHA-256 (hex) over content and what was filled in from outside: equal digests run alike. */
  readonly digest: string;
  /**
   * Set on flows from Git, OCI or the store, which reach less than files of this machine: these
   * resources only, and credentials only below `flows.credentials_root`.
   */
  readonly outside?: { readonly resources: Resources };
  /** What the author should know, such as fields accepted for compatibility only. */
  readonly warnings: readonly { readonly message: string; readonly position: Position }[];
}
