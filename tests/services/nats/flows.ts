/** Flows of NATS tasks in the engine, on the real clock, for tests against real servers. */
import * as v from "valibot";
import { jetstream, type JetStreamClient, jetstreamManager } from "@nats-io/jetstream";
import type { JetStreamManager } from "@nats-io/jetstream";
import type { NatsConnection } from "@nats-io/nats-core";
import { connect } from "@nats-io/transport-node";
import { systemClock } from "../../../src/core/clock.ts";
import type { Log, LogFields } from "../../../src/core/log.ts";
import type { FlowRun } from "../../../src/engine/flow_run.ts";
import { entry, startFlow, waits } from "../../../src/engine/testing.ts";
import type { FlowEvent } from "../../../src/flow/event.ts";
import type { TaskEntry } from "../../../src/flow/flow.ts";
import type { TaskDefinition } from "../../../src/flow/task.ts";

type EntryOptions = NonNullable<Parameters<typeof entry>[2]>;

/** A task as a flow file gives it, its fields checked. */
export function task(
  definition: TaskDefinition,
  config: Record<string, unknown>,
  { name = definition.type, ...options }: EntryOptions & { readonly name?: string } = {},
): TaskEntry {
  return entry(name, definition, { ...options, config: v.parse(definition.config, config) });
}

/** What the tasks of a flow wrote to the log. */
export interface LogRecord {
  readonly level: "trace" | "debug" | "info" | "warning" | "error";
  readonly message: string;
  readonly fields: LogFields;
}

export interface RunningFlow extends AsyncDisposable {
  readonly run: FlowRun;
  readonly log: readonly LogRecord[];
  stop(deadline?: number): Promise<boolean>;
}

/** Starts a flow; disposing stops it. */
export async function flow(...tasks: readonly TaskEntry[]): Promise<RunningFlow> {
  const log: LogRecord[] = [];
  const { run } = await startFlow(tasks, {
    clock: systemClock,
    log: memoryLog(log),
    // However long it takes until what a test brings about is there.
    retry: { max_attempts: 200, initial_backoff: 20, max_backoff: 500 },
  });
  let stopped: Promise<boolean> | undefined;
  const stop = (deadline = LIMIT) => stopped ??= run.stop(deadline);
  return { run, log, stop, [Symbol.asyncDispose]: async () => void await stop() };
}

function memoryLog(records: LogRecord[], more: LogFields = {}): Log {
  const at = (level: LogRecord["level"]) => (message: string, fields: LogFields = {}) =>
    void records.push({ level, message, fields: { ...more, ...fields } });
  return {
    trace: at("trace"),
    debug: at("debug"),
    info: at("info"),
    warning: at("warning"),
    error: at("error"),
    with: (fields) => memoryLog(records, { ...more, ...fields }),
  };
}

/** A last task that keeps what it gets; `work` may wait, or fail. */
export function sink(
  work: (event: FlowEvent) => void | Promise<void> = () => {},
): { readonly task: TaskEntry; readonly events: FlowEvent[] } {
  const events: FlowEvent[] = [];
  const last = waits("sink", async (event) => {
    events.push(event);
    await work(event);
    return null;
  }, { concurrency: 1_024, retry: { max_attempts: 1, initial_backoff: 1, max_backoff: 1 } });
  return { task: last, events };
}

/** A client of its own beside the one under test. */
export interface Client extends AsyncDisposable {
  readonly connection: NatsConnection;
  readonly jetstream: JetStreamClient;
  readonly manager: JetStreamManager;
}

export async function client(url: string): Promise<Client> {
  const connection = await connect({ servers: url.split(","), maxReconnectAttempts: -1 });
  // A busy server takes its time; what is asked while it restarts is never answered.
  const options = { checkAPI: false, timeout: 10_000 };
  return {
    connection,
    jetstream: jetstream(connection, options),
    manager: await jetstreamManager(connection, options),
    [Symbol.asyncDispose]: () => connection.close(),
  };
}

/** Far more than anything takes here; past it something hangs. */
const LIMIT = 60_000;

/** Waits until it is so. What the condition throws counts as "not yet". */
export async function until(what: string, condition: () => unknown): Promise<void> {
  const end = performance.now() + LIMIT;
  let why: unknown;
  for (;;) {
    try {
      if (await condition()) return;
    } catch (cause) {
      why = cause;
    }
    if (performance.now() > end) throw new Error(`It never happened: ${what}`, { cause: why });
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}
