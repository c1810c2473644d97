/**
 * flowgen as a library: run flows inside your own program, and write task types of your own.
 *
 * ```ts
 * import { createRuntime } from "./mod.ts";
 *
 * const runtime = createRuntime(
 *   { cache: { type: "memory" }, flows: { path: "examples/quickstart/flows", watch: false } },
 *   { listen: false },
 * );
 * await runtime.start();
 * const live = await runtime.fetch(new Request("http://localhost/livez"));
 * console.log(await live.json());
 * await runtime.stop();
 * ```
 *
 * @module
 */
export {
  createRuntime,
  type Runtime,
  type RuntimeOptions,
  type RuntimeStatus,
} from "./src/runtime.ts";
export {
  checkConfig,
  type Config,
  type ConfigInput,
  type Environment,
  loadConfig,
} from "./src/config/load.ts";
export type { Fetch } from "./src/app/mount.ts";
export type { TaskCount } from "./src/engine/flow_run.ts";
export type { FlowState, FlowStatus } from "./src/reconcile/status.ts";
export type { SourceState } from "./src/workspace/poller.ts";

export type { ClaimView, Cluster, ClusterView, NodeView, Term } from "./src/flow/cluster.ts";
export type {
  Published,
  PublishOptions,
  Workspaces,
  WorkspaceVersion,
  WorkspaceView,
} from "./src/flow/workspace.ts";

export {
  type AsyncDefinition,
  type AsyncRun,
  type Call,
  type CheckContext,
  type CollectDefinition,
  type Collector,
  type CollectorContext,
  type CollectorOutput,
  defineTask,
  type DefinitionBase,
  type EitherDefinition,
  type Emit,
  type EmitOptions,
  type FlushReason,
  type Held,
  type HttpReply,
  Many,
  type Outcome,
  type Output,
  type Reply,
  type SourceDefinition,
  type SourceOutput,
  type SourceRun,
  type SyncDefinition,
  type SyncRun,
  type TaskContext,
  type TaskDefinition,
  type TaskExample,
  type TaskSchema,
  Tracked,
} from "./src/flow/task.ts";
export {
  type Data,
  derive,
  type EventError,
  type EventInit,
  type EventView,
  type FlowEvent,
  isBytes,
  type Json,
  type JsonObject,
  jsonView,
  type Meta,
  newEvent,
} from "./src/flow/event.ts";
export type { Field } from "./src/flow/field.ts";
export type { Entry, Expiry, Key, Revision, Store } from "./src/flow/store.ts";
export type { Services } from "./src/flow/services.ts";
export { type ResourceFile, ResourceRef, type Resources } from "./src/flow/resource.ts";
export type { Schedule, Scheduler } from "./src/flow/scheduler.ts";
export type {
  Script,
  ScriptEngines,
  ScriptEvent,
  ScriptHost,
  ScriptLanguage,
  ScriptLimits,
  ScriptResult,
  ScriptSource,
} from "./src/flow/script.ts";
export type { Endpoint, Endpoints, HttpMethod, UserAuth, UserIdentity } from "./src/flow/http.ts";
export {
  type ErrorView,
  FlowError,
  type FlowErrorOptions,
  FlowErrors,
  formatError,
  type Position,
  type Remedy,
} from "./src/core/errors.ts";
export type { Clock, Timer } from "./src/core/clock.ts";
export type { Random } from "./src/core/random.ts";
export type { Log, LogFields } from "./src/core/log.ts";

/** Schemas for the `config` of task definitions, beside valibot's own. */
export * as schema from "./src/flow/schema.ts";
/** Helpers for testing task definitions. */
export * as testing from "./src/flow/testing.ts";
export { TestClock } from "./src/core/clock.ts";
