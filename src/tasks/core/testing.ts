import type { TestClock } from "../../core/clock.ts";
import { FlowError } from "../../core/errors.ts";
import type { Log, LogFields, LogLevel } from "../../core/log.ts";
import type { FlowEvent } from "../../flow/event.ts";
import type { Scheduler } from "../../flow/scheduler.ts";
import type { Services } from "../../flow/services.ts";
import { type Cluster, soloCluster } from "../../flow/cluster.ts";
import type { Store } from "../../flow/store.ts";
import { DONE, type Held, type Outcome, type TaskDefinition } from "../../flow/task.ts";
import { testContext } from "../../flow/testing.ts";
import { generate } from "./generate.ts";

/** A scheduler on a test's clock that knows one cron expression: each full minute. */
export function minuteScheduler(clock: TestClock): Scheduler {
  return {
    next(schedule, after) {
      if ("interval" in schedule) return after + schedule.interval;
      if (schedule.timezone === "Mars/Base") {
        throw new FlowError("config.timezone_invalid", 'Cannot find the timezone "Mars/Base"');
      }
      if (schedule.cron === "0 0 1 1 * 2020") return null;
      if (schedule.cron !== "* * * * *") {
        throw new FlowError("config.cron_invalid", `Cannot read the cron "${schedule.cron}"`);
      }
      return (Math.floor(after / 60_000) + 1) * 60_000;
    },
    at(time, run) {
      const timer = clock.after(time - clock.now(), () => void run());
      return { cancel: () => timer.clear() };
    },
  };
}

/** A store whose methods first ask `before`, which may wait or throw. */
export function guardedStore(
  store: Store,
  before: (method: string) => void | Promise<void>,
): Store {
  return new Proxy(store, {
    get(target, name: keyof Store) {
      const method = target[name] as (...args: unknown[]) => unknown;
      if (name === "list" || name === "watch") return method.bind(target);
      return async (...args: unknown[]) => {
        await before(String(name));
        return method.apply(target, args);
      };
    },
  });
}

/** A log that keeps what it is given. */
export function keepingLog(): Log & { readonly lines: [LogLevel, string, LogFields][] } {
  const lines: [LogLevel, string, LogFields][] = [];
  const at = (level: LogLevel) => (message: string, fields: LogFields = {}) =>
    void lines.push([level, message, fields]);
  const log = {
    lines,
    trace: at("trace"),
    debug: at("debug"),
    info: at("info"),
    warning: at("warning"),
    error: at("error"),
    with: () => log,
  };
  return log;
}

/** What `check` finds, as `code message`. */
export async function findingsOf(
  definition: TaskDefinition,
  config: unknown,
  services: Partial<Services> = {},
): Promise<string[]> {
  try {
    await definition.check?.(testContext(definition, config, { services }));
    return [];
  } catch (cause) {
    const { findings } = cause as { findings?: FlowError[] };
    return (findings ?? [cause as FlowError]).map(({ code, message }) => `${code} ${message}`);
  }
}

const clusters = new WeakMap<TestClock, Map<string, Cluster>>();

/** A node alone with its store: one and the same for all that a test starts on it. */
export function clusterOf(clock: TestClock, nodeId: string, some: Partial<Cluster> = {}): Cluster {
  const nodes = clusters.get(clock) ?? new Map<string, Cluster>();
  const cluster = nodes.get(nodeId) ??
    { ...soloCluster({ nodeId, now: () => clock.now() }), ...some };
  clusters.set(clock, nodes.set(nodeId, cluster));
  return cluster;
}

/** A running `generate`: the data it sent, and how to end it. `end` decides about each delivery. */
export async function startGenerate(
  config: Record<string, unknown>,
  given: {
    clock: TestClock;
    store: Store;
    nodeId?: string;
    end?: (event: FlowEvent) => Outcome | Promise<Outcome>;
    log?: Log;
    /** What this node is told of the others. */
    cluster?: Partial<Cluster>;
    /** Of an elected flow. */
    epoch?: number;
  },
) {
  const { clock, store } = given;
  const scheduler = minuteScheduler(clock);
  const nodeId = given.nodeId ?? "node-a";
  const cluster = clusterOf(clock, nodeId, given.cluster);
  const context = {
    ...testContext(generate, config, {
      clock,
      services: { runtimeStore: store, scheduler, cluster },
      name: "tick",
    }),
    epoch: () => given.epoch ?? 0,
    ...(given.log && { log: given.log }),
  };
  const source = await generate.create(context);
  const stopping = new AbortController();
  const events: FlowEvent[] = [];
  const output = {
    signal: stopping.signal,
    emit: () => {
      throw new Error("generate waits for each delivery");
    },
    request: () => Promise.reject(new Error("generate is no request source")),
    window: 1,
    windowBytes: 1,
    fail: () => {},
    trouble: () => {},
    async deliver(event: FlowEvent) {
      events.push(event);
      return await given.end?.(event) ?? DONE;
    },
  };
  const run = { ended: false, error: null as unknown };
  const begin = () => {
    run.ended = false;
    run.error = null;
    return source.run(output).then(() => {
      run.ended = true;
    }, (cause) => {
      run.error = cause;
    });
  };
  let running = begin();
  await clock.advance(0);
  return {
    events,
    run,
    /** As supervision does after `run` threw. */
    async again() {
      running = begin();
      await clock.advance(0);
    },
    /** Ends the generation, as the engine does. */
    async stop(reason?: unknown) {
      stopping.abort(reason);
      await running;
      for (const close of context.closers.reverse()) await close();
    },
  };
}

/** A collector by hand: what it emitted, and what it was given. */
export async function startCollector(
  definition: Extract<TaskDefinition, { mode: "collect" }>,
  config: unknown,
  clock: TestClock,
) {
  const batches: { event: FlowEvent; members: readonly Held[] }[] = [];
  const context = testContext(definition, config, { clock });
  const collector = await definition.create({
    ...context,
    output: { emit: (event, members) => void batches.push({ event, members }) },
  });
  return {
    collector,
    batches,
    async close() {
      for (const close of context.closers.reverse()) await close();
    },
  };
}
