/** Schedules need no owner: whoever is first claims a tick, and no other runs it. */
import assert from "node:assert/strict";
import * as v from "valibot";
import { createRuntime, defineTask, type Runtime, type TaskDefinition } from "../../../mod.ts";
import { silentLog } from "../../../src/core/log.ts";
import { startNats, until } from "../nats/server.ts";
import { PATIENCE } from "./scene.ts";

const REPLICAS = 10;

interface Ran {
  readonly flow: string;
  readonly node: string;
  readonly counter: number;
  /** Unix seconds; tells one tick of a cron flow from the next. */
  readonly next: number;
}

/** Notes each run. */
function recorder(ran: Ran[]): TaskDefinition {
  return defineTask({
    type: "record",
    mode: "async",
    summary: "Notes that a tick was run.",
    config: v.strictObject({}),
    examples: [],
    create: ({ flow, services }) => (event) => {
      const { counter, system_info } = event.data as unknown as {
        counter: number;
        system_info: { next_run_time: number };
      };
      ran.push({ flow, node: services.cluster.nodeId, counter, next: system_info.next_run_time });
      return event;
    },
  }) as unknown as TaskDefinition;
}

const scheduled = (schedule: string) =>
  `flow:
  tasks:
    - generate: { name: tick, ${schedule}, payload: { counter: "{{event.data.counter}}" } }
    - record: { name: note }
`;

Deno.test("ten replicas run each tick of a cron and of an interval flow once", async () => {
  await using server = await startNats();
  const folder = await Deno.makeTempDir({ prefix: "flowgen-replicas-" });
  await Deno.writeTextFile(`${folder}/cron.yaml`, scheduled('cron: "* * * * * *"'));
  await Deno.writeTextFile(`${folder}/interval.yaml`, scheduled("interval: 250ms"));
  const ran: Ran[] = [];
  const runtimes: Runtime[] = Array.from({ length: REPLICAS }, () =>
    createRuntime({
      flows: { path: folder, watch: false },
      cache: { type: "nats", url: server.url },
      cluster: { lease_duration: "1500ms" },
    }, { listen: false, log: silentLog, tasks: [recorder(ran)] }));
  try {
    await Promise.all(runtimes.map((runtime) => runtime.start()));
    const of = (flow: string) => ran.filter((one) => one.flow === flow);
    await until(
      () => of("cron").length >= 6 && of("interval").length >= 20,
      PATIENCE,
      "the ticks come",
    );
    await Promise.all(runtimes.map((runtime) => runtime.stop()));
    for (const flow of ["cron", "interval"]) {
      // Two that are due at once, after a pause of the machine, may run in either order.
      const counters = of(flow).map(({ counter }) => counter).toSorted((a, b) => a - b);
      assert.deepEqual(counters, counters.map((_, at) => at), JSON.stringify(of(flow), null, 2));
    }
    const seconds = of("cron").map(({ next }) => next);
    assert.equal(new Set(seconds).size, seconds.length, JSON.stringify(of("cron"), null, 2));
    const runners = new Set(ran.map(({ node }) => node)).size;
    console.log(`${ran.length} ticks, run by ${runners} of ${REPLICAS} replicas`);
  } finally {
    await Promise.all(runtimes.map((runtime) => runtime.stop(0)));
    await Deno.remove(folder, { recursive: true });
  }
});
