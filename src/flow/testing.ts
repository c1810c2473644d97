import { textOfField } from "./resource.ts";
import * as v from "valibot";
import { TestClock } from "../core/clock.ts";
import { silentLog } from "../core/log.ts";
import { seededRandom } from "../core/random.ts";
import { type Data, type FlowEvent, type Meta, newEvent } from "./event.ts";
import { MemoryStore } from "../store/memory.ts";
import { soloCluster } from "./cluster.ts";
import type { Services } from "./services.ts";
import type { Snapshot } from "./source.ts";
import {
  type AsyncDefinition,
  type AsyncRun,
  type Call,
  Many,
  type Output,
  type SyncDefinition,
  type TaskContext,
  type TaskDefinition,
  Tracked,
} from "./task.ts";
import type { PublishOptions, Workspaces } from "./workspace.ts";

export interface TestInput {
  readonly config: unknown;
  /** RFC 3339. */
  readonly now?: string;
  /** Data of the events, or whole events made by `testEvent`. */
  readonly input: readonly unknown[];
  readonly services?: Partial<Services>;
}

/** An event with fixed time and ids, for tests. */
export function testEvent(
  data: Data,
  more: { subject?: string; id?: string; meta?: Meta; error?: FlowEvent["error"] } = {},
): FlowEvent {
  const meta = { correlation_id: "00000000-0000-7000-8000-000000000000", ...more.meta };
  const event = newEvent({ data, subject: more.subject ?? "test", id: more.id, meta }, 0);
  return more.error ? { ...event, error: more.error } : event;
}

/**
 * Services of which a test names only what its task uses; touching another one throws. There is always
 * an empty store, and a node alone with it.
 */
export function testServices(some: Partial<Services> = {}): Services {
  const clock = some.clock ?? new TestClock();
  const cluster = soloCluster({ nodeId: "test-node", now: () => clock.now() });
  const runtimeStore = new MemoryStore({ clock });
  return new Proxy({ random: seededRandom(1), cluster, runtimeStore, ...some } as Services, {
    get(target, name) {
      if (name === "nats" || name === "workspaces") return target[name];
      if (!(name in target)) throw new Error(`The test gave no services.${String(name)}`);
      return target[name as keyof Services];
    },
  });
}

/** Workspaces that only remember what was published; every version goes live. */
export function recordingWorkspaces(): Workspaces & { readonly published: Publication[] } {
  const published: Publication[] = [];
  const refuse = () => Promise.reject(new Error("These workspaces only take what is published"));
  return {
    published,
    publish(name, snapshot, options = {}) {
      published.push({ name, snapshot, options });
      const { version } = snapshot;
      return Promise.resolve({
        workspace: name,
        version,
        outcome: "activated",
        active: version,
        findings: [],
      });
    },
    rollback: refuse,
    remove: refuse,
    position: refuse,
    list: refuse,
  };
}

interface Publication {
  readonly name: string;
  readonly snapshot: Snapshot;
  readonly options: PublishOptions;
}

/** A context for `definition.create`, with its config checked by the definition's schema. */
export function testContext<D extends TaskDefinition>(
  definition: D,
  config: unknown,
  options: { clock?: TestClock; services?: Partial<Services>; name?: string } = {},
): TaskContext<v.InferOutput<D["config"]>> & { readonly closers: (() => void | Promise<void>)[] } {
  const clock = options.clock ?? new TestClock();
  const closers: (() => void | Promise<void>)[] = [];
  const services = testServices({ clock, ...options.services });
  return {
    config: v.parse(definition.config, config),
    name: options.name ?? definition.type,
    flow: "test/flow",
    clock,
    random: services.random,
    log: silentLog,
    services,
    text: (field) => textOfField(field, services),
    credentials: (path) => path,
    epoch: () => 0,
    locate: (_path, line = 1, column = 1) => ({ file: "test.yaml", line, column }),
    defer: (close) => void closers.push(close),
    closers,
  };
}

/** A `Call` for running a task by hand. */
export function testCall(emit: (event: FlowEvent) => void, some: Partial<Call> = {}): Call {
  return {
    expand: (events) => {
      for (const event of events) emit(event);
    },
    respond: () => false,
    signal: new AbortController().signal,
    attempt: 1,
    ...some,
  };
}

/** Runs a sync task on each input and gives the data of all it emits. */
export function runTask<D extends SyncDefinition<v.GenericSchema>>(
  definition: D,
  { config, now, input, services }: TestInput,
): unknown[] {
  const out: FlowEvent[] = [];
  const run = definition.create(
    testContext(definition, config, { clock: new TestClock(now), services }),
  );
  if (run instanceof Promise) throw new Error(`${definition.type} is not made at once`);
  const emit = (event: FlowEvent) => void out.push(event);
  for (const item of input) run(asEvent(item), emit, testCall(emit));
  return out.map((event) => event.data);
}

/** Runs an async task on each input, one after another, without retries; gives the events. */
export async function runAsyncTask<D extends AsyncDefinition<v.GenericSchema>>(
  definition: D,
  { config, now, input, services }: TestInput,
): Promise<FlowEvent[]> {
  const clock = new TestClock(now);
  const context = testContext(definition, config, { clock, services });
  const out: FlowEvent[] = [];
  try {
    const run: AsyncRun = await definition.create(context);
    for (const item of input) {
      out.push(...await outputs(await run(asEvent(item), testCall((e) => out.push(e)))));
    }
  } finally {
    for (const close of context.closers.reverse()) await close();
  }
  return out;
}

/** The events of an output, as a list. */
export async function outputs(output: Output): Promise<FlowEvent[]> {
  if (output instanceof Tracked) return await outputs(output.event);
  if (output === null) return [];
  return output instanceof Many ? await Array.fromAsync(output.events) : [output];
}

function asEvent(item: unknown): FlowEvent {
  const event = item as FlowEvent;
  const isEvent = typeof item === "object" && item !== null && "subject" in item &&
    "meta" in item &&
    "timestamp" in item;
  return isEvent ? event : testEvent(item as Data);
}
