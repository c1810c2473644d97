import assert from "node:assert/strict";
import * as v from "valibot";
import { TestClock } from "../src/core/clock.ts";
import { silentLog } from "../src/core/log.ts";
import type { Services } from "../src/flow/services.ts";
import type { Data, FlowEvent } from "../src/flow/event.ts";
import type { TaskDefinition, TaskExample } from "../src/flow/task.ts";
import {
  outputs,
  runAsyncTask,
  runTask,
  testCall,
  testContext,
  testEvent,
} from "../src/flow/testing.ts";
import { createScriptEngines } from "../src/script/mod.ts";
import { MemoryStore } from "../src/store/memory.ts";
import { builtinTasks } from "../src/tasks/mod.ts";

/** The data that an example's events come out with. */
async function outputOf(definition: TaskDefinition, example: TaskExample): Promise<unknown[]> {
  const clock = new TestClock(example.now);
  await using scripts = createScriptEngines({
    isolation: "none",
    defaultLanguage: "js",
    clock,
    log: silentLog,
  });
  const services: Partial<Services> = { clock, scripts, runtimeStore: new MemoryStore({ clock }) };
  const input = example.input ?? [];
  const given = { config: example.config, now: example.now, input, services };
  switch (definition.mode) {
    case "sync":
      return runTask(definition, given);
    case "async":
      return (await runAsyncTask(definition, given)).map(({ data }) => data);
    case "source":
      throw new Error("an example of a source has no output");
  }
  const context = testContext(definition, example.config, { clock, services });
  const out: FlowEvent[] = [];
  const emit = (event: FlowEvent) => void out.push(event);
  const events = input.map((data) => testEvent(data as Data));
  if (definition.mode === "collect") {
    const collector = await definition.create({ ...context, output: { emit } });
    for (const event of events) collector.add({ event });
  } else {
    const run = await definition.create(context);
    for (const event of events) {
      if ("sync" in run) run.sync(event, emit, testCall(emit));
      else out.push(...await outputs(await run.async(event, testCall(emit))));
    }
  }
  for (const close of context.closers.reverse()) await close();
  return out.map(({ data }) => data);
}

/** The description of a field, also where it is optional or nullable around it. */
function descriptionOf(schema: v.GenericSchema): string | undefined {
  const { wrapped } = schema as { wrapped?: v.GenericSchema };
  return v.getDescription(schema) ?? (wrapped && descriptionOf(wrapped));
}

Deno.test("every task type has a name of its own", () => {
  const types = builtinTasks.map(({ type }) => type);
  assert.deepEqual([...new Set(types)], types);
});

for (const definition of builtinTasks) {
  const { type, summary, config, examples } = definition;

  Deno.test(`${type} is documented: summary, fields, examples`, () => {
    assert.match(summary, /^[A-Z].*\.$/);
    const { entries } = config as unknown as { entries: Record<string, v.GenericSchema> };
    const bare = Object.entries(entries).filter(([, field]) => !descriptionOf(field));
    assert.deepEqual(bare.map(([name]) => name), [], "fields without a description");
    assert.ok(examples.length > 0, "no example");
  });

  for (const example of examples) {
    Deno.test(`${type} example: ${example.title}`, async () => {
      const checked = v.safeParse(config, example.config);
      assert.deepEqual(checked.issues?.map(({ message }) => message) ?? [], []);
      if (!example.output) return;
      assert.deepEqual(await outputOf(definition, example), example.output);
    });
  }
}
