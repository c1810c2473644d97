import type { EventView, Json, JsonObject } from "./event.ts";
import type { Store } from "./store.ts";

export type ScriptLanguage = "js" | "ts" | "rhai";

export interface ScriptLimits {
  /** Milliseconds of wall time one event may take. */
  readonly timeout: number;
  /** Bytes of heap of one child. */
  readonly memory: number;
  /** Bytes of JSON text one result may have. */
  readonly output: number;
}

export interface ScriptSource {
  readonly code: string;
  readonly language: ScriptLanguage;
  /** Scripts of one flow share a context; no two flows ever do. */
  readonly flow: string;
  /** The task's name, for messages and the log. */
  readonly task: string;
  readonly limits?: Partial<ScriptLimits>;
}

/** What scripts can reach beyond their event. All of it belongs to one flow. */
export interface ScriptHost {
  /** Keys live below `["flow", <identity>, "script"]`. */
  readonly cache: Store;
  resource(key: string): Promise<string | null>;
  /** Fencing token of an elected flow's owner, 0 for other flows. Read when the script runs. */
  readonly epoch: number;
  print(level: "info" | "debug", text: string): void;
}

/** One call's result. `meta` is `ctx.meta` after the run where the script changed it. */
export type ScriptResult =
  | { readonly kind: "value"; readonly value: Json; readonly meta?: JsonObject }
  /** The script returned `event` itself, changed or not: subject, id and data count. */
  | { readonly kind: "event"; readonly event: ScriptEvent; readonly meta?: JsonObject }
  /** The script returned an array: one event per element. */
  | {
    readonly kind: "list";
    readonly items: readonly (
      | { readonly value: Json }
      | { readonly event: ScriptEvent }
    )[];
    readonly meta?: JsonObject;
  }
  | { readonly kind: "drop" };

export interface ScriptEvent {
  readonly data: Json;
  readonly subject: string;
  readonly id: string | null;
}

/**
 * A compiled script. `run` answers at once where the script does not wait and its engine runs in the
 * main isolate; a caged script always answers with a promise.
 *
 * @throws {FlowError} `script.failed`, `script.no_result`, `script.timeout`, `script.memory`,
 * `script.output_too_large`, `script.child_lost`
 */
export interface Script extends AsyncDisposable {
  /** Whether every `run` answers at once, so that the step can be fused. */
  readonly sync: boolean;
  run(event: EventView, signal?: AbortSignal): ScriptResult | Promise<ScriptResult>;
}

export interface ScriptEngines {
  /** The engine of inline code that does not say one: `scripts.engine` of config.yaml. */
  readonly defaultLanguage: ScriptLanguage;
  /**
   * Checks syntax and shape without running anything.
   *
   * @throws {FlowError} `script.syntax` or `script.no_return`, its position within the code (line and
   * column from 1, `file` empty); `script.engine_unavailable`.
   */
  check(source: ScriptSource): void;
  /** Compiles for running. Throws like `check`. */
  compile(source: ScriptSource, host: ScriptHost): Promise<Script>;
}
