import type * as v from "valibot";
import type { Clock } from "../core/clock.ts";
import { FlowError, type Position } from "../core/errors.ts";
import type { Log } from "../core/log.ts";
import type { Random } from "../core/random.ts";
import type { Data, FlowEvent, Json } from "./event.ts";
import type { FieldText, ResourceRef } from "./resource.ts";
import type { Services } from "./services.ts";

export type Outcome = { readonly ok: true } | { readonly ok: false; readonly cause: unknown };
export const DONE: Outcome = { ok: true };

/** Whether a delivery was not tried to its end: its flow stopped, or is another node's by now. */
export function isCutShort(cause: unknown): boolean {
  return cause instanceof FlowError &&
    (cause.code === "delivery.stopped" || cause.code === "cluster.fenced");
}

/** Hands one event on. It never throws: what goes wrong behind it is that step's own failure. */
export type Emit = (event: FlowEvent) => void;

/** What a task says to a waiting request. `body` left out means no body. */
export interface HttpReply {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: Data;
}

/** What the engine offers to one run of a task. */
export interface Call {
  /**
   * Emits events one by one as the tasks behind have room; the iterator is pulled, not drained. A
   * waiting request is answered with a list, however many there are. Sync tasks only.
   */
  expand(events: Iterable<FlowEvent>): void;
  /** Answers the request this event came from; `false` when nobody waits or it was answered. */
  respond(reply: HttpReply): boolean;
  /** Fires when the delivery has expired or the runtime ends: stop and throw. */
  readonly signal: AbortSignal;
  /** From 1. */
  readonly attempt: number;
}

/**
 * A step that never waits. Emitting nothing drops the event on purpose. What it throws fails the event
 * at once, without retries: nothing it depends on could have changed.
 */
export type SyncRun = (event: FlowEvent, emit: Emit, call: Call) => void;

/** Several events from one: `expand: true` answers a request with a list, also of one or none. */
export class Many {
  constructor(
    readonly events: Iterable<FlowEvent> | AsyncIterable<FlowEvent>,
    readonly expansion: boolean = true,
  ) {}
}

/**
 * One event, or several, whose end the task wants to hear of: the last one's, or the first failure.
 * What comes of them still counts for the delivery.
 */
export class Tracked {
  constructor(readonly event: FlowEvent | Many, readonly settled: (outcome: Outcome) => void) {}
}

/** `null` drops the event on purpose. */
export type Output = FlowEvent | Many | Tracked | null;

/**
 * A step that waits. The engine runs up to `concurrency` at once, keeps their order, and retries what
 * is transient (see `isTransient`) from the same event. It may answer without a promise.
 */
export type AsyncRun = (event: FlowEvent, call: Call) => Output | Promise<Output>;

/** An event in a collector's hands; its delivery stays open until the batch it left in is settled. */
export interface Held {
  readonly event: FlowEvent;
}

export type FlushReason = "size" | "bytes" | "timeout" | "completion" | "window" | "shutdown";

/** A step that keeps events and emits batches, such as `buffer`. */
export interface Collector {
  /** What it throws fails only this event, which it must not keep then. */
  add(held: Held): void;
  /** The delivery of this event expired: forget it. The engine settles it. */
  drop(held: Held): void;
  /** Emit everything now. */
  flush(reason: FlushReason): void;
  /** All that is left of the delivery that brought `held` waits in buffers. */
  completed?(held: readonly Held[]): void;
}

export interface CollectorOutput {
  /** Emits a batch. Its fate becomes the fate of every member. */
  emit(event: FlowEvent, members: readonly Held[]): void;
}

export interface EmitOptions {
  /** Size in memory, counted against `max_in_flight_bytes`; 0 when unknown. */
  readonly bytes?: number;
}

/** What a request gets back. `list` is in order; `failed.handled`: an error branch took care of it. */
export type Reply =
  | { readonly kind: "data"; readonly data: Data }
  | { readonly kind: "list"; readonly items: readonly Json[] }
  | { readonly kind: "none" }
  | { readonly kind: "accepted" }
  | { readonly kind: "response"; readonly response: HttpReply }
  | { readonly kind: "failed"; readonly cause: unknown; readonly handled: boolean };

/** A source's way into the flow. */
export interface SourceOutput {
  /**
   * Opens a delivery for the event; `settled` hears once how it ended. Answers with a promise while
   * the window is full or the event loop needs a turn; await it before the next `emit`.
   */
  emit(
    event: FlowEvent,
    settled: (outcome: Outcome) => void,
    options?: EmitOptions,
  ): void | Promise<void>;
  /** Emits and waits for the end. */
  deliver(event: FlowEvent, options?: EmitOptions): Promise<Outcome>;
  /**
   * For sources of requests: emits and waits for the answer, which may come before the end.
   *
   * @throws {FlowError} `http.window_full` at once when there is no room, `http.stopping`.
   */
  request(event: FlowEvent, options?: EmitOptions): Promise<Reply>;
  /**
   * Opens a delivery for an event that the source could not make what it should be: it goes to the
   * error branch, without one the delivery fails with `cause`. For definitions that say `fails`.
   */
  fail(
    event: FlowEvent,
    cause: unknown,
    settled: (outcome: Outcome) => void,
    options?: EmitOptions,
  ): void | Promise<void>;
  /** Shows the flow as degraded while the source goes on trying by itself; `null`: it is well. */
  trouble(cause: FlowError | null): void;
  /** Deliveries that may be open at once. */
  readonly window: number;
  /** Bytes of deliveries that may be open at once. */
  readonly windowBytes: number;
  /** Fires when intake shall stop: stop emitting and return from `run`. */
  readonly signal: AbortSignal;
}

/**
 * A source. `run` takes in until `signal` fires or there is nothing more to come, and resolves when
 * nothing will be emitted any more; when it throws it is called again after a pause, and the flow shows
 * as degraded meanwhile. What must change at the very moment of a switch, such as a route, is done
 * before its first `await`.
 */
export interface SourceRun {
  run(output: SourceOutput): Promise<void>;
}

/** What a task is given when it is made. */
export interface TaskContext<Config> {
  readonly config: Config;
  /** Name of the task in its flow; the subject of what it emits. */
  readonly name: string;
  /** Identity of the flow. */
  readonly flow: string;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  readonly services: Services;
  /** Inline text as it is, or the text of the resource. */
  text(field: string | ResourceRef): Promise<FieldText>;
  /** Path of a credentials file, checked against `flows.credentials_root` where flows are not trusted. */
  credentials(path: string): string;
  /** Position of a field of this task in its file, for errors: `locate(["code"], 3, 1)`. */
  locate(path: readonly (string | number)[], line?: number, column?: number): Position;
  /** Fencing token of an elected flow: grows from owner to owner. 0 for other flows. */
  epoch(): number;
  /** Runs when the task's generation has ended, also when it never started; last first. */
  defer(close: () => void | Promise<void>): void;
}

export interface CollectorContext<Config> extends TaskContext<Config> {
  readonly output: CollectorOutput;
}

/** Given to `check`, which looks at one task without connecting to anything. */
export interface CheckContext<Config> {
  readonly config: Config;
  readonly name: string;
  readonly flow: string;
  readonly services: Pick<Services, "scripts" | "scheduler" | "endpoints">;
  text(field: string | ResourceRef): Promise<FieldText>;
  locate(path: readonly (string | number)[], line?: number, column?: number): Position;
}

/** Seen by people in the reference, and run as a test by `tests/task_examples_test.ts`. */
export interface TaskExample {
  readonly title: string;
  /** The clock's time, RFC 3339. */
  readonly now?: string;
  readonly config: Record<string, unknown>;
  /** Data of the events going in (processors). */
  readonly input?: readonly unknown[];
  /** Data of the events coming out; left out where it needs a server, then only `config` is checked. */
  readonly output?: readonly unknown[];
}

/** A valibot schema of a task's own fields. */
// deno-lint-ignore no-explicit-any
export type TaskSchema = v.GenericSchema<any, any>;

/** What all kinds of task definitions have. */
export interface DefinitionBase<S extends TaskSchema> {
  /** The key in YAML, system first outside core. */
  readonly type: string;
  readonly summary: string;
  /** A `v.strictObject` of the task's own fields; the engine adds `name`, `depends_on` and the rest. */
  readonly config: S;
  readonly examples: readonly TaskExample[];
  /** Things only one flow may hold, as text: `http POST /orders`. */
  claims?(config: v.InferOutput<S>): readonly string[];
  /** Findings beyond the schema; throws `FlowError` or `FlowErrors`. Must not touch the outside. */
  check?(context: CheckContext<v.InferOutput<S>>): void | Promise<void>;
}

export interface SyncDefinition<S extends TaskSchema> extends DefinitionBase<S> {
  readonly mode: "sync";
  create(context: TaskContext<v.InferOutput<S>>): SyncRun | Promise<SyncRun>;
}

export interface AsyncDefinition<S extends TaskSchema> extends DefinitionBase<S> {
  readonly mode: "async";
  /** Events worked on at once unless the flow file says; 16 when left out. */
  readonly concurrency?: number;
  create(context: TaskContext<v.InferOutput<S>>): AsyncRun | Promise<AsyncRun>;
}

/** Decides when it is made whether it waits. */
export interface EitherDefinition<S extends TaskSchema> extends DefinitionBase<S> {
  readonly mode: "either";
  readonly concurrency?: number;
  create(
    context: TaskContext<v.InferOutput<S>>,
  ): Promise<{ sync: SyncRun } | { async: AsyncRun }>;
}

export interface CollectDefinition<S extends TaskSchema> extends DefinitionBase<S> {
  readonly mode: "collect";
  /** Longest time an event may be kept, milliseconds; `undefined` when unbounded. */
  holds?(config: v.InferOutput<S>): number | undefined;
  create(context: CollectorContext<v.InferOutput<S>>): Collector | Promise<Collector>;
}

export interface SourceDefinition<S extends TaskSchema> extends DefinitionBase<S> {
  readonly mode: "source";
  /** Deliveries open at once unless the flow file says; 1,024 when left out. */
  readonly window?: number;
  /** Whether events of different deliveries keep their order. */
  readonly ordered?: boolean;
  /** Whether someone waits for an answer; `ack_timeout` is 30 s then. */
  readonly request?: boolean;
  /** Whether it may fail events, by `SourceOutput.fail`, and so can have an error branch. */
  readonly fails?: boolean;
  create(context: TaskContext<v.InferOutput<S>>): SourceRun | Promise<SourceRun>;
}

export type TaskDefinition<S extends TaskSchema = TaskSchema> =
  | SyncDefinition<S>
  | AsyncDefinition<S>
  | EitherDefinition<S>
  | CollectDefinition<S>
  | SourceDefinition<S>;

/**
 * Gives a definition its types. See `docs/tasks.md` for how to write one.
 *
 * ```ts
 * import * as v from "valibot";
 * import { defineTask, derive, testing } from "../../mod.ts";
 *
 * const shout = defineTask({
 *   type: "shout",
 *   mode: "sync",
 *   summary: "Turns text into capitals.",
 *   config: v.strictObject({ field: v.string() }),
 *   examples: [],
 *   create: ({ config, name }) => (event, emit) => {
 *     const { [config.field]: text } = event.data as Record<string, string>;
 *     emit(derive(event, { data: text!.toUpperCase(), subject: name }));
 *   },
 * });
 * const [loud] = testing.runTask(shout, { config: { field: "say" }, input: [{ say: "hi" }] });
 * if (loud !== "HI") throw new Error(String(loud));
 * ```
 */
export function defineTask<S extends TaskSchema>(definition: SyncDefinition<S>): SyncDefinition<S>;
export function defineTask<S extends TaskSchema>(
  definition: AsyncDefinition<S>,
): AsyncDefinition<S>;
export function defineTask<S extends TaskSchema>(
  definition: EitherDefinition<S>,
): EitherDefinition<S>;
export function defineTask<S extends TaskSchema>(
  definition: CollectDefinition<S>,
): CollectDefinition<S>;
export function defineTask<S extends TaskSchema>(
  definition: SourceDefinition<S>,
): SourceDefinition<S>;
export function defineTask(definition: TaskDefinition): TaskDefinition {
  return definition;
}
