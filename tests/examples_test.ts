/**
 * Runs every example that says what it expects: `input.jsonl` comes in where its source stands, and
 * what reaches the last tasks is compared with `expected.jsonl`. All flows and configurations of all
 * examples are checked besides.
 */
import assert from "node:assert/strict";
import { dirname, join, relative } from "node:path";
import { loadConfig } from "../src/config/load.ts";
import { FileResources } from "../src/source/file_resources.ts";
import { loadTaskModules } from "../src/config/task_modules.ts";
import { TestClock } from "../src/core/clock.ts";
import { FlowErrors, formatError } from "../src/core/errors.ts";
import { silentLog } from "../src/core/log.ts";
import { seededRandom } from "../src/core/random.ts";
import { FlowRun } from "../src/engine/flow_run.ts";
import { buildGraph } from "../src/engine/graph.ts";
import { DEFAULT_RETRY } from "../src/engine/retry.ts";
import { sync } from "../src/engine/testing.ts";
import { noEnv } from "../src/flow/env.ts";
import { type Data, jsonView, newEvent } from "../src/flow/event.ts";
import type { Flow } from "../src/flow/flow.ts";
import { soloCluster } from "../src/flow/cluster.ts";
import { noQueues } from "../src/flow/queue.ts";
import type { Services } from "../src/flow/services.ts";
import type { SourceOutput, TaskContext, TaskDefinition } from "../src/flow/task.ts";
import { checkFlow } from "../src/reconcile/check_flow.ts";
import { createRuntime } from "../src/runtime.ts";
import { TimerScheduler } from "../src/scheduler/timers.ts";
import { createScriptEngines } from "../src/script/mod.ts";
import { MemoryStore } from "../src/store/memory.ts";
import { builtinTasks } from "../src/tasks/mod.ts";

const EXAMPLES = join(import.meta.dirname!, "../examples");

const JSON_TYPE = { "content-type": "application/json" };

/** Seconds of the flow's own time after which an example counts as hung. */
const LONGEST = 86_400;

for (const file of filesIn(EXAMPLES, "expected.jsonl")) {
  const folder = dirname(file);
  Deno.test(`example ${relative(EXAMPLES, folder)} gives what it expects`, async () => {
    const expected = readLines<Reached>(file);
    const reached = await play(
      join(folder, "flow.yaml"),
      readLines<Data>(join(folder, "input.jsonl")),
    );
    assert.deepEqual(byTask(reached), byTask(expected));
  });
}

Deno.test("every flow of the examples is valid", async () => {
  await using world = makeWorld();
  for (const file of filesIn(EXAMPLES, ".yaml").filter((file) => !file.endsWith("config.yaml"))) {
    const own = await ownTasks(dirname(dirname(file)));
    await check(file, [...builtinTasks, ...own], world.services);
  }
});

Deno.test("every configuration of the examples is valid", async () => {
  for (const path of filesIn(EXAMPLES, "config.yaml")) await loadConfig({ path, env: {} });
});

Deno.test("every example explains itself", () => {
  const folders = [...Deno.readDirSync(EXAMPLES)].filter(({ isDirectory }) => isDirectory);
  const silent = folders.filter(({ name }) =>
    !filesIn(join(EXAMPLES, name), "README.md").includes(join(EXAMPLES, name, "README.md"))
  );
  assert.deepEqual(silent, []);
});

Deno.test("the quickstart answers orders, customers and quotes", async () => {
  const config = await loadConfig({
    path: join(EXAMPLES, "quickstart/config.yaml"),
    env: { FLOWGEN_CACHE__TYPE: "memory", FLOWGEN_SCRIPTS__ISOLATION: "none" },
  });
  const clock = new TestClock();
  await using runtime = createRuntime(config, { listen: false, clock, log: silentLog });
  await runtime.start();
  const ask = async (path: string, body?: unknown) => {
    const init = body === undefined
      ? undefined
      : { method: "POST", headers: JSON_TYPE, body: JSON.stringify(body) };
    const response = await runtime.fetch(new Request(`http://localhost${path}`, init));
    return [response.status, await response.json()];
  };

  const [status, order] = await ask("/orders", {
    customer: 7,
    items: [{ sku: "tea", price: 4, quantity: 3 }],
  });
  assert.deepEqual([status, order], [200, { id: order.id, customer: 7, total: 12 }]);
  assert.deepEqual(await ask("/orders", { customer: 7, items: [] }), [422, {
    problems: ["items must not be empty"],
  }]);
  assert.deepEqual(await ask("/customers/7"), [200, { name: "Ada", country: "UK" }]);
  assert.deepEqual(await ask("/customers/9"), [404, { error: "There is no customer 9" }]);
  assert.deepEqual(await ask("/quotes", { kg: 3 }), [200, [
    { carrier: "road", price: 7 },
    { carrier: "air", price: 15 },
  ]]);
  assert.deepEqual(await ask("/dead-letters"), [200, { entries: [] }]);
});

/** What came out of a task that nothing follows. */
interface Reached {
  readonly task: string;
  readonly data: unknown;
}

/** Runs one flow on the given data and tells what reached its ends. */
async function play(file: string, input: readonly Data[]): Promise<Reached[]> {
  await using world = makeWorld();
  const { services, clock } = world;
  const allIn = Promise.withResolvers<void>();
  const definitions = builtinTasks.map((one) => withInput(one, input, allIn.resolve));
  const flow = await check(file, definitions, services);
  const reached: Reached[] = [];
  const ends = buildGraph(flow).nodes.filter(({ children }) => children.length === 0)
    .map(({ task }) => task.name);
  const recorders = ends.map((task) =>
    sync(`end-${task}`, ({ data }) => void reached.push({ task, data: jsonView(data) }), {
      dependsOn: [task],
    })
  );
  const run = await FlowRun.prepare({ ...flow, tasks: [...flow.tasks, ...recorders] }, {
    services,
    log: silentLog,
    credentials: (path) => path,
    retry: DEFAULT_RETRY,
  });
  run.start();
  await allIn.promise;
  // Batches and retries wait on the clock; how long they do does not matter here.
  for (let second = 0; second < LONGEST && run.health().open > 0; second++) {
    await clock.advance(1_000);
  }
  assert.equal(run.health().open, 0, "something is still under way");
  await run.stop(0);
  return reached;
}

/** The definition as it is, but for a source, which emits the input in its order and ends. */
function withInput(
  definition: TaskDefinition,
  input: readonly Data[],
  allIn: () => void,
): TaskDefinition {
  if (definition.mode !== "source") return definition;
  return {
    ...definition,
    window: 1_000,
    ordered: true,
    create: ({ name, clock }: TaskContext<unknown>) => ({
      async run(output: SourceOutput) {
        for (const data of input) {
          await output.emit(newEvent({ data, subject: name }, clock.now()), () => {});
        }
        allIn();
      },
    }),
  };
}

/** What the runtime would lend to the flow, on a clock of its own and with nothing outside. */
function makeWorld(): AsyncDisposable & { services: Services; clock: TestClock } {
  const clock = new TestClock();
  const scripts = createScriptEngines({
    isolation: "none",
    defaultLanguage: "js",
    clock,
    log: silentLog,
  });
  const services: Services = {
    clock,
    random: seededRandom(1),
    runtimeStore: new MemoryStore({ clock }),
    scheduler: new TimerScheduler({ clock }),
    scripts,
    endpoints: { enabled: true, credentialsPath: undefined, auth: undefined, add: () => () => {} },
    resources: new FileResources(undefined),
    queues: noQueues,
    remotes: () => Promise.reject(new Error("examples run offline")),
    cluster: soloCluster({ nodeId: "test-node", now: () => clock.now() }),
  };
  return { services, clock, [Symbol.asyncDispose]: () => scripts[Symbol.asyncDispose]() };
}

async function check(
  file: string,
  definitions: readonly TaskDefinition[],
  services: Services,
): Promise<Flow> {
  try {
    return await checkFlow({
      identity: relative(EXAMPLES, file),
      file,
      text: Deno.readTextFileSync(file),
      definitions: new Map(definitions.map((one) => [one.type, one])),
      env: noEnv,
      resources: services.resources,
      services,
    });
  } catch (cause) {
    if (!(cause instanceof FlowErrors)) throw cause;
    throw new Error(cause.findings.map(formatError).join("\n\n"));
  }
}

/** The task types that the configuration in this folder names, if there is one. */
async function ownTasks(folder: string): Promise<TaskDefinition[]> {
  const [path] = filesIn(folder, "config.yaml");
  if (path !== join(folder, "config.yaml")) return [];
  const { tasks } = await loadConfig({ path, env: {} });
  return await loadTaskModules(tasks, builtinTasks);
}

/** Order counts for each task by itself: branches run beside one another. */
function byTask(reached: readonly Reached[]): Record<string, unknown[]> {
  const lists = Object.groupBy(reached, ({ task }) => task);
  return Object.fromEntries(
    Object.entries(lists).map(([task, list]) => [task, list!.map(({ data }) => data)]),
  );
}

function readLines<T>(file: string): T[] {
  return Deno.readTextFileSync(file).trim().split("\n").map((line) => JSON.parse(line));
}

function filesIn(folder: string, end: string): string[] {
  return [...Deno.readDirSync(folder)].flatMap(({ name, isDirectory }) => {
    const path = join(folder, name);
    if (isDirectory) return filesIn(path, end);
    return name.endsWith(end) ? [path] : [];
  }).sort();
}
