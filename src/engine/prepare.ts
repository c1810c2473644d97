import { type Resources, textOfField } from "../flow/resource.ts";
import { withoutLogin } from "../nats/options.ts";
import { FlowError, FlowErrors, InternalError, textOf, toFlowError } from "../core/errors.ts";
import type { Log } from "../core/log.ts";
import type { Flow, TaskEntry } from "../flow/flow.ts";
import type { Services } from "../flow/services.ts";
import type { CollectorOutput, SourceRun, TaskContext } from "../flow/task.ts";
import type { Graph, Node } from "./graph.ts";
import type { Runner } from "./pipeline.ts";
import type { Tenure } from "./tenure.ts";

/** Tasks worked on at once where neither the flow file nor the definition says. */
const DEFAULT_CONCURRENCY = 16;

export interface TaskEnvironment {
  readonly services: Services;
  readonly log: Log;
  /** Checks and completes a path of a credentials file; see `flows.credentials_root`. */
  credentials(path: string, flow: Flow): string;
}

/** Tasks that were made, and how to let them go. */
export interface Prepared {
  readonly runners: readonly Runner[];
  readonly sources: ReadonlyMap<Node, SourceRun>;
  /** Closes what the tasks opened, last first; errors are logged. */
  close(): Promise<void>;
}

/**
 * Makes every task of a flow: loads what it needs and connects. Changes nothing outside. Where one
 * fails or `signal` fires, those before it are let go, and what is still being made when it ends.
 *
 * @throws {FlowErrors | FlowError} the first failure, with the task's position.
 */
export async function prepare(
  flow: Flow,
  graph: Graph,
  environment: TaskEnvironment & { readonly tenure?: Tenure },
  signal?: AbortSignal,
): Promise<Prepared> {
  const closers: (() => void | Promise<void>)[] = [];
  const sources = new Map<Node, SourceRun>();
  const runners: Runner[] = [];
  const close = async () => {
    for (const closer of closers.splice(0).reverse()) {
      try {
        await closer();
      } catch (cause) {
        environment.log.warning("A task did not close cleanly", {
          flow: flow.identity,
          error: textOf(cause),
        });
      }
    }
  };
  let making: Promise<Runner> | undefined;
  try {
    for (const node of graph.nodes) {
      if (signal?.aborted) throw givenUp(node, signal);
      making = make(node, contextOf(flow, node.task, environment, closers), sources);
      runners.push(await (signal ? unlessAborted(making, node, signal) : making));
    }
  } catch (cause) {
    const closed = close();
    if (signal?.aborted) void making?.then(close, close); // nobody waits for what may hang
    else await closed;
    throw cause;
  }
  return { runners, sources, close };
}

function unlessAborted<T>(making: Promise<T>, node: Node, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const abort = () => reject(givenUp(node, signal));
    signal.addEventListener("abort", abort, { once: true });
    making.then(resolve, reject).finally(() => signal.removeEventListener("abort", abort));
  });
}

function givenUp({ task }: Node, { reason }: AbortSignal): unknown {
  const position = task.locate([]);
  if (reason instanceof FlowError) return reason.at(position);
  if (!(reason instanceof Error && reason.name === "TimeoutError")) return reason;
  return new FlowError("task.prepare_timeout", `Task "${task.name}" was not ready in time`, {
    hint: "see what it connects to",
    cause: reason,
    position,
  });
}

async function make(
  node: Node,
  context: TaskContext<unknown>,
  sources: Map<Node, SourceRun>,
): Promise<Runner> {
  const { task } = node;
  const { definition } = task;
  try {
    switch (definition.mode) {
      case "sync":
        return { kind: "sync", run: await definition.create(context) };
      case "source":
        sources.set(node, await definition.create(context));
        return { kind: "source" };
      case "collect": {
        // The task is made before the pipeline whose way out it emits to.
        let emit: CollectorOutput["emit"] = () => {
          throw new InternalError("engine.collector_early");
        };
        const output: CollectorOutput = { emit: (event, members) => emit(event, members) };
        const collector = await definition.create({ ...context, output });
        return {
          kind: "collect",
          make(way) {
            emit = way.emit;
            return collector;
          },
        };
      }
      default: {
        const concurrency = task.concurrency ?? definition.concurrency ?? DEFAULT_CONCURRENCY;
        if (definition.mode === "async") {
          return { kind: "async", run: await definition.create(context), concurrency };
        }
        const made = await definition.create(context);
        return "sync" in made
          ? { kind: "sync", run: made.sync }
          : { kind: "async", run: made.async, concurrency };
      }
    }
  } catch (cause) {
    if (cause instanceof FlowErrors) throw cause;
    throw toFlowError(cause, "task.create_failed").at(task.locate([]));
  }
}

/** Flows from outside have their own resources, and not the logins of the runtime. */
function lentOutside(lent: Services, resources: Resources): Services {
  return { ...lent, resources, nats: lent.nats && withoutLogin(lent.nats) };
}

function contextOf(
  flow: Flow,
  task: TaskEntry,
  { services: lent, log, credentials, tenure }: TaskEnvironment & { readonly tenure?: Tenure },
  closers: (() => void | Promise<void>)[],
): TaskContext<unknown> {
  const services = flow.outside ? lentOutside(lent, flow.outside.resources) : lent;
  return {
    config: task.config,
    name: task.name,
    flow: flow.identity,
    clock: services.clock,
    random: services.random,
    log: log.with({ flow: flow.identity, task: task.name }),
    services,
    text: (field) => textOfField(field, services),
    credentials: (path) => credentials(path, flow),
    epoch: () => tenure?.epoch ?? 0,
    locate: (path, line, column) => task.locate(path, line, column),
    defer: (closer) => void closers.push(closer),
  };
}
