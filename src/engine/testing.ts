import * as v from "valibot";
import { type Clock, TestClock } from "../core/clock.ts";
import { type Log, silentLog } from "../core/log.ts";
import { seededRandom } from "../core/random.ts";
import type { Flow, TaskEntry } from "../flow/flow.ts";
import { testServices } from "../flow/testing.ts";
import type {
  AsyncRun,
  Collector,
  CollectorOutput,
  SourceOutput,
  SyncRun,
  TaskDefinition,
} from "../flow/task.ts";
import { FlowRun } from "./flow_run.ts";
import { DEFAULT_RETRY } from "./retry.ts";

type Options = Partial<Omit<TaskEntry, "definition" | "name" | "type">>;
const base = { summary: "", config: v.any(), examples: [] };

/** A task of a test flow, by name. */
export function entry(name: string, definition: TaskDefinition, options: Options = {}): TaskEntry {
  return {
    type: definition.type,
    name,
    definition,
    config: {},
    when: "success",
    ordered: false,
    locate: () => ({ file: "test.yaml", line: 1, column: 1 }),
    ...options,
  };
}

export const sync = (name: string, run: SyncRun, options?: Options) =>
  entry(name, { ...base, type: "sync", mode: "sync", create: () => run }, options);

export const waits = (name: string, run: AsyncRun, options?: Options) =>
  entry(name, { ...base, type: "waits", mode: "async", create: () => run }, options);

export const collects = (
  name: string,
  make: (output: CollectorOutput) => Collector,
  options?: Options,
) =>
  entry(name, {
    ...base,
    type: "collects",
    mode: "collect",
    create: ({ output }) => make(output),
  }, options);

/** A source that the test drives: `output` is there once the flow was started. */
export class HandSource {
  output!: SourceOutput;
  constructor(
    readonly traits: { window?: number; ordered?: boolean; request?: boolean; fails?: boolean } =
      {},
  ) {}

  task(name = "in", options?: Options): TaskEntry {
    return entry(name, {
      ...base,
      type: "hand",
      mode: "source",
      ...this.traits,
      create: () => ({
        run: (output) => {
          this.output = output;
          if (output.signal.aborted) return Promise.resolve();
          return new Promise<void>((resolve) =>
            output.signal.addEventListener("abort", () => resolve(), { once: true })
          );
        },
      }),
    }, options);
  }
}

export function flowOf(tasks: readonly TaskEntry[]): Flow {
  return {
    identity: "test/flow",
    file: "test.yaml",
    labels: {},
    enabled: true,
    requireLeaderElection: false,
    tasks,
    digest: "",
    warnings: [],
  };
}

/** Starts a flow of test tasks, on a test clock unless told. */
export async function startFlow<C extends Clock = TestClock>(
  tasks: readonly TaskEntry[],
  options: { clock?: C; log?: Log; retry?: Partial<typeof DEFAULT_RETRY> } = {},
): Promise<{ run: FlowRun; clock: C }> {
  const clock = options.clock ?? new TestClock() as Clock as C;
  const run = await FlowRun.prepare(flowOf(tasks), {
    services: testServices({ clock, random: seededRandom(7) }),
    log: options.log ?? silentLog,
    credentials: (path) => path,
    retry: { ...DEFAULT_RETRY, ...options.retry },
  });
  run.start();
  return { run, clock };
}
