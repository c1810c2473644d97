import assert from "node:assert/strict";
import { TestClock } from "../../core/clock.ts";
import { FlowError } from "../../core/errors.ts";
import { DONE, type Outcome } from "../../flow/task.ts";
import { MemoryStore } from "../../store/memory.ts";
import { guardedStore, startGenerate } from "./testing.ts";

const START = Date.parse("2030-01-01T00:00:00Z");
const FENCED: Outcome = { ok: false, cause: new FlowError("cluster.fenced", "not ours") };

function given() {
  const clock = new TestClock(START);
  return { clock, store: new MemoryStore({ clock }) };
}

/** Times of the events, milliseconds since the start. */
function times(events: readonly { timestamp: number }[]): number[] {
  return events.map(({ timestamp }) => timestamp / 1000 - START);
}

async function recordIn(store: MemoryStore) {
  const entry = await store.get(["flow", "test/flow", "tick", "tick"]);
  return JSON.parse(new TextDecoder().decode(entry!.value));
}

/** A node that is not the first in line, in a cluster where everybody lives. */
const SECOND_IN_LINE = {
  renewInterval: 2_000,
  rank: () => 1,
  isGone: () => Promise.resolve(false),
};

Deno.test("a tick waits a renewal interval for the first in line, once", async () => {
  const world = given();
  const flow = await startGenerate({ interval: "500ms" }, { ...world, cluster: SECOND_IN_LINE });
  await world.clock.advance(3_600);
  // Who ran the last tick does not wait for somebody who did not come.
  assert.deepEqual(times(flow.events), [2_000, 2_500, 3_000, 3_500]);
  await flow.stop();
});

Deno.test("where nobody else runs the ticks nobody is waited for", async () => {
  for (const [some, epoch] of [[{ scope: "node" }, 0], [{}, 7]] as const) {
    const world = given();
    const flow = await startGenerate({ interval: "500ms", ...some }, {
      ...world,
      cluster: SECOND_IN_LINE,
      epoch,
    });
    await world.clock.advance(1_200);
    assert.deepEqual(times(flow.events), [0, 500, 1_000]);
    await flow.stop();
  }
});

Deno.test("the owner of an elected flow runs a tick that a node which lives left unfinished", async () => {
  const world = given();
  const never = new Promise<Outcome>(() => {});
  const cluster = SECOND_IN_LINE;
  const config = { cron: "* * * * *" };
  await startGenerate(config, { ...world, end: () => never, cluster, epoch: 7 });
  await world.clock.advance(70_000);
  const b = await startGenerate(config, { ...world, nodeId: "node-b", cluster, epoch: 8 });
  await world.clock.advance(10_000);
  assert.deepEqual(times(b.events), [70_000]);
  await b.stop();
});

Deno.test("another node's tick is not run again while that node lives", async () => {
  const world = given();
  const never = new Promise<Outcome>(() => {});
  const cluster = SECOND_IN_LINE;
  await startGenerate({ interval: "1h" }, { ...world, end: () => never, cluster });
  await world.clock.advance(10_000);
  const b = await startGenerate({ interval: "1h" }, { ...world, nodeId: "node-b", cluster });
  await world.clock.advance(7_200_000);
  assert.deepEqual(times(b.events), []);
  await b.stop();
});

Deno.test("a tick that was cut short because the right to run had ended is left to be run again", async () => {
  const world = given();
  const ends: Outcome[] = [FENCED];
  const flow = await startGenerate({ cron: "* * * * *" }, {
    ...world,
    epoch: 7,
    end: () => ends.shift() ?? DONE,
  });
  await world.clock.advance(60_000);
  assert.equal((await recordIn(world.store)).state, "running");
  await world.clock.advance(2_000);
  assert.deepEqual(times(flow.events), [60_000, 61_000]);
  assert.equal((await recordIn(world.store)).counter, 1);
  await flow.stop();
});

Deno.test("a tick whose claim came too late to run is not started", async () => {
  const world = given();
  let member = true;
  const store = guardedStore(world.store, (method) => {
    if (method === "create") member = false;
  });
  const cluster = { mayRun: () => member };
  const flow = await startGenerate({ interval: "1h" }, { ...world, store, cluster });
  await world.clock.advance(5_000);
  assert.deepEqual(times(flow.events), []);
  member = true;
  await world.clock.advance(2_000);
  assert.deepEqual(times(flow.events), [6_000]);
  await flow.stop();
});
