/**
 * What people see when a file is wrong, word for word. After a change on purpose:
 * `UPDATE_GOLDEN=1 deno test -A tests/golden_test.ts`, and read the difference.
 */
import assert from "node:assert/strict";
import * as v from "valibot";
import { loadConfig } from "../src/config/load.ts";
import { FileResources } from "../src/source/file_resources.ts";
import { EndpointApp } from "../src/app/endpoints.ts";
import { systemClock } from "../src/core/clock.ts";
import { FlowErrors, formatError } from "../src/core/errors.ts";
import { listedEnv, wholeEnv } from "../src/flow/env.ts";
import type { Flow } from "../src/flow/flow.ts";
import { Text } from "../src/flow/schema.ts";
import { defineTask } from "../src/flow/task.ts";
import { checkFlow } from "../src/reconcile/check_flow.ts";
import { silentLog } from "../src/core/log.ts";
import { TimerScheduler } from "../src/scheduler/timers.ts";
import { createScriptEngines } from "../src/script/mod.ts";
import { builtinTasks } from "../src/tasks/mod.ts";

const golden = new URL("./golden/", import.meta.url).pathname;

/** Stands for all tasks that name resources. */
const query = defineTask({
  type: "query",
  mode: "sync",
  summary: "Asks nothing of nobody.",
  config: v.strictObject({ sql: Text }),
  examples: [],
  create: () => () => {},
});

const definitions = new Map([...builtinTasks, query].map((task) => [task.type, task]));
const resources = new FileResources(`${golden}resources`);
const services = {
  scripts: createScriptEngines({
    isolation: "process",
    defaultLanguage: "js",
    clock: systemClock,
    log: silentLog,
  }),
  scheduler: new TimerScheduler({ clock: systemClock }),
  endpoints: new EndpointApp(),
};
const variables: Record<string, string> = {
  BRACES: "{{event.data}}",
  NAME: "quick",
  INTERVAL: "5s",
  COUNT: "3",
  RERUN: "true",
  TOKEN: "s3cr3t-t0k3n",
};

async function read(folder: string, name: string): Promise<Flow> {
  const text = await Deno.readTextFile(`${golden}${folder}/${name}`);
  const get = (key: string) => variables[key];
  const env = name.includes("not_allowed") ? listedEnv(get, ["NAME"]) : wholeEnv(get);
  const identity = name.replace(/\.\w+$/, "");
  const file = `flows/${name}`;
  return await checkFlow({ identity, file, text, definitions, env, resources, services });
}

/** The text of what `run` throws, the test's own folder left out. */
async function complaint(run: () => Promise<unknown>): Promise<string> {
  try {
    await run();
  } catch (cause) {
    if (!(cause instanceof FlowErrors)) throw cause;
    return `${cause.findings.map(formatError).join("\n\n")}\n`.replaceAll(golden, "");
  }
  return "nothing is wrong\n";
}

async function compare(file: string, actual: string): Promise<void> {
  if (Deno.env.get("UPDATE_GOLDEN") === "1") await Deno.writeTextFile(file, actual);
  assert.equal(actual, await Deno.readTextFile(file));
}

function filesIn(folder: string): string[] {
  return [...Deno.readDirSync(`${golden}${folder}`)].map(({ name }) => name)
    .filter((name) => !name.endsWith(".txt")).sort();
}

for (const name of filesIn("rejected")) {
  Deno.test(`the flow file rejected/${name} is refused in the words of its .txt`, async () => {
    const text = await complaint(() => read("rejected", name));
    await compare(`${golden}rejected/${name.replace(/\.\w+$/, ".txt")}`, text);
  });
}

for (const name of filesIn("rejected_config")) {
  Deno.test(`the configuration rejected_config/${name} is refused in its words`, async () => {
    const path = `${golden}rejected_config/${name}`;
    const text = await complaint(() => loadConfig({ path, env: variables }));
    assert.doesNotMatch(text, /s3cr3t|hunter2/);
    await compare(path.replace(/\.\w+$/, ".txt"), text);
  });
}

for (const name of filesIn("accepted")) {
  Deno.test(`the flow file accepted/${name} means what its .txt says`, async () => {
    const flow = await read("accepted", name);
    const tasks = flow.tasks.map(({ definition: _, ...task }) => task);
    const text = Deno.inspect({ ...flow, tasks }, { depth: 9, sorted: true });
    const path = `${golden}accepted/${name.replace(/\.\w+$/, ".txt")}`;
    await compare(path, `${text.replace(/\n\s*digest: .*/, "")}\n`);
  });
}
