/** Single async tasks against a real server. */
import { systemClock } from "../../../src/core/clock.ts";
import type { Data, FlowEvent } from "../../../src/flow/event.ts";
import type { TaskSchema } from "../../../src/flow/task.ts";
import type { AsyncDefinition } from "../../../src/flow/task.ts";
import { testCall, testContext, testEvent } from "../../../src/flow/testing.ts";

/** Runs a task on one event, with a connection of its own, and gives the data that comes next. */
export async function runOn<S extends TaskSchema>(
  url: string,
  definition: AsyncDefinition<S>,
  config: Record<string, unknown>,
  data: Data = {},
): Promise<Data> {
  await using task = await startOn(url, definition, config);
  return await task.run(data);
}

/** A task that is used more than once. */
export async function startOn<S extends TaskSchema>(
  url: string,
  definition: AsyncDefinition<S>,
  config: Record<string, unknown>,
): Promise<AsyncDisposable & { run(data?: Data): Promise<Data> }> {
  const context = testContext(definition, config, { services: { nats: { url } } });
  const run = await definition.create({ ...context, clock: systemClock });
  return {
    run: async (data = {}) => (await run(testEvent(data), testCall(() => {})) as FlowEvent).data,
    async [Symbol.asyncDispose]() {
      for (const close of context.closers.reverse()) await close();
    },
  };
}
