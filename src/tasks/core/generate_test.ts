import assert from "node:assert/strict";
import { TestClock } from "../../core/clock.ts";
import { FlowError } from "../../core/errors.ts";
import { isBytes } from "../../flow/event.ts";
import { DONE, type Outcome } from "../../flow/task.ts";
import { MemoryStore } from "../../store/memory.ts";
import { generate } from "./generate.ts";
import { findingsOf, guardedStore, keepingLog, minuteScheduler, startGenerate } from "./testing.ts";

const START = Date.parse("2030-01-01T00:00:00Z");
const SECOND = START / 1000;
const FAILED: Outcome = { ok: false, cause: new FlowError("http.status", "no") };
const STOPPED: Outcome = { ok: false, cause: new FlowError("delivery.stopped", "stopped") };

function given() {
  const clock = new TestClock(START);
  return { clock, store: new MemoryStore({ clock }) };
}

/** Times of the events, milliseconds since the start. */
function times(events: readonly { timestamp: number }[]): number[] {
  return events.map(({ timestamp }) => timestamp / 1000 - START);
}

async function recordIn(store: MemoryStore, key: string[] = ["flow", "test/flow", "tick", "tick"]) {
  const entry = await store.get(key);
  return entry && JSON.parse(new TextDecoder().decode(entry.value));
}

Deno.test("an interval ticks at once and then at its distance", async () => {
  const world = given();
  const flow = await startGenerate({ interval: "30s" }, world);
  await world.clock.advance(60_000);
  assert.deepEqual(times(flow.events), [0, 30_000, 60_000]);
  await flow.stop();
  assert.equal(flow.run.ended, true);
  assert.equal(world.clock.pending, 0);
});

Deno.test("an interval of ten milliseconds ticks a hundred times a second", async () => {
  const world = given();
  const flow = await startGenerate({ interval: "10ms" }, world);
  await world.clock.advance(1_000);
  assert.equal(flow.events.length, 101);
  await flow.stop();
});

Deno.test("slow deliveries do not shift the ticks of an interval", async () => {
  const world = given();
  const { clock } = world;
  const slow = () => new Promise<Outcome>((resolve) => void clock.after(7, () => resolve(DONE)));
  const flow = await startGenerate({ interval: "10ms" }, { ...world, end: slow });
  await clock.advance(47);
  assert.deepEqual(times(flow.events), [0, 10, 20, 30, 40]);
  await flow.stop();
});

Deno.test("a tick that falls due during a delivery comes right after it, once", async () => {
  const world = given();
  const { clock } = world;
  const ends = [35, 1, 1];
  const slow = () =>
    new Promise<Outcome>((resolve) => void clock.after(ends.shift() ?? 1, () => resolve(DONE)));
  const flow = await startGenerate({ interval: "10ms" }, { ...world, end: slow });
  await clock.advance(51);
  assert.deepEqual(times(flow.events), [0, 35, 40, 50]);
  await flow.stop();
});

Deno.test("cron ticks at its times, and not at once", async () => {
  const world = given();
  const flow = await startGenerate({ cron: "* * * * *" }, world);
  await world.clock.advance(125_000);
  assert.deepEqual(times(flow.events), [60_000, 120_000]);
  await flow.stop();
});

Deno.test("cron skips what it missed while the flow was down, unless it is to catch up", async () => {
  for (const [catch_up, expected] of [[undefined, [60, 300]], ["one", [60, 250, 300]]] as const) {
    const world = given();
    const config = { cron: "* * * * *", catch_up };
    const first = await startGenerate(config, world);
    await world.clock.advance(60_000);
    await first.stop();
    await world.clock.advance(190_000);
    const second = await startGenerate(config, world);
    await world.clock.advance(50_000);
    const all = [...first.events, ...second.events];
    assert.deepEqual(times(all), expected.map((s) => s * 1_000));
    await second.stop();
  }
});

Deno.test("an overdue interval runs at once after a restart, and keeps its grid", async () => {
  const world = given();
  const first = await startGenerate({ interval: "10s" }, world);
  await first.stop();
  await world.clock.advance(34_000);
  const second = await startGenerate({ interval: "10s" }, { ...world, nodeId: "node-b" });
  await world.clock.advance(6_000);
  assert.deepEqual(times(second.events), [34_000, 40_000]);
  await second.stop();
});

Deno.test("a restart before the next tick does not bring it forward", async () => {
  const world = given();
  const first = await startGenerate({ interval: "10s" }, world);
  await world.clock.advance(4_000);
  await first.stop();
  const second = await startGenerate({ interval: "10s" }, world);
  await world.clock.advance(6_000);
  assert.deepEqual(times(second.events), [10_000]);
  await second.stop();
});

Deno.test("events tell the run before and the one to come, in unix seconds", async () => {
  const world = given();
  const flow = await startGenerate({ interval: "30s", count: 3, payload: { a: 1 } }, world);
  await world.clock.advance(60_000);
  assert.deepEqual(flow.events.map(({ data }) => data), [
    { a: 1, system_info: { last_run_time: null, next_run_time: SECOND + 30 } },
    { a: 1, system_info: { last_run_time: SECOND, next_run_time: SECOND + 60 } },
    { a: 1, system_info: { last_run_time: SECOND + 30 } },
  ]);
  assert.equal(flow.events[0]!.subject, "tick");
  assert.equal(flow.run.ended, true);
});

Deno.test("a payload that is no object is sent as it is", async () => {
  for (const payload of [[1, 2], "text", 7, null]) {
    const world = given();
    const flow = await startGenerate({ count: 1, payload }, world);
    assert.deepEqual(flow.events.map(({ data }) => data), [payload]);
  }
});

Deno.test("templates in a payload see the counter and the times", async () => {
  const world = given();
  const payload = {
    page: "{{event.data.counter}}",
    since: "{{event.data.system_info.last_run_time}}",
    until: "{{event.data.system_info.next_run_time}}",
  };
  const flow = await startGenerate({ interval: "30s", count: 2, payload }, world);
  await world.clock.advance(30_000);
  const seen = flow.events.map(({ data }) => {
    assert.ok(!isBytes(data));
    const { system_info: _, ...rest } = data as Record<string, unknown>;
    return rest;
  });
  assert.deepEqual(seen, [
    { page: 0, since: null, until: SECOND + 30 },
    { page: 1, since: SECOND, until: null },
  ]);
});

Deno.test("a count alone runs back to back, and ends", async () => {
  const world = given();
  const flow = await startGenerate({ count: 5 }, world);
  assert.deepEqual([flow.events.length, flow.run.ended], [5, true]);
  assert.equal(world.clock.pending, 0);
});

Deno.test("a count goes on where it was, and starts over only with allow_rerun", async () => {
  const world = given();
  const first = await startGenerate({ interval: "1s", count: 3 }, world);
  await world.clock.advance(1_000);
  await first.stop();
  const second = await startGenerate({ interval: "1s", count: 3 }, world);
  await world.clock.advance(10_000);
  assert.deepEqual([first.events.length, second.events.length, second.run.ended], [2, 1, true]);
  const third = await startGenerate({ interval: "1s", count: 3 }, world);
  assert.deepEqual([third.events.length, third.run.ended], [0, true]);
  const again = await startGenerate({ interval: "1s", count: 2, allow_rerun: true }, world);
  await world.clock.advance(10_000);
  assert.deepEqual([again.events.length, again.run.ended], [2, true]);
});

Deno.test("supervision's restart is not a rerun", async () => {
  const world = given();
  let broken = false;
  const store = guardedStore(world.store, () => {
    if (broken) throw new FlowError("store.unavailable", "away");
  });
  const flow = await startGenerate({ interval: "1s", count: 3, allow_rerun: true }, {
    ...world,
    store,
  });
  broken = true;
  await world.clock.advance(1_000);
  assert.equal((flow.run.error as FlowError).code, "store.unavailable");
  broken = false;
  await flow.again();
  await world.clock.advance(10_000);
  assert.deepEqual([flow.events.length, flow.run.ended], [3, true]);
});

Deno.test("a failed delivery does not count, is told, and comes again at the next tick", async () => {
  const world = given();
  const log = keepingLog();
  const ends = [DONE, FAILED, DONE];
  const flow = await startGenerate({ interval: "1s", count: 2 }, {
    ...world,
    log,
    end: () => ends.shift()!,
  });
  await world.clock.advance(10_000);
  assert.deepEqual(times(flow.events), [0, 1_000, 2_000]);
  const last = flow.events.map(({ data }) =>
    (data as { system_info: { last_run_time: unknown } }).system_info.last_run_time
  );
  assert.deepEqual(last, [null, SECOND, SECOND]);
  assert.equal(flow.run.ended, true);
  assert.deepEqual(log.lines.map(([level, , { code }]) => [level, code]), [
    ["warning", "http.status"],
  ]);
});

Deno.test("deliveries that keep failing slowly never follow one another without a pause", async () => {
  const world = given();
  const { clock } = world;
  const fail = () => new Promise<Outcome>((resolve) => void clock.after(25, () => resolve(FAILED)));
  const flow = await startGenerate({ interval: "10ms" }, { ...world, end: fail });
  await clock.advance(89);
  assert.deepEqual(times(flow.events), [0, 30, 60]);
  await flow.stop();
});

Deno.test("failures of a count without a schedule are a second apart", async () => {
  const world = given();
  const ends = [FAILED, FAILED, DONE];
  const flow = await startGenerate({ count: 1 }, { ...world, end: () => ends.shift()! });
  await world.clock.advance(5_000);
  assert.deepEqual(times(flow.events), [0, 1_000, 2_000]);
});

Deno.test("the record is claimed before the event leaves, and ended after its delivery", async () => {
  const world = given();
  const during: unknown[] = [];
  const flow = await startGenerate({ interval: "1s" }, {
    ...world,
    end: async () => (during.push(await recordIn(world.store)), DONE),
  });
  const base = { v: 1, tick: START, holder: "node-a" };
  assert.deepEqual(during, [{ ...base, state: "running", last_run: null, counter: 0 }]);
  assert.deepEqual(await recordIn(world.store), {
    ...base,
    state: "idle",
    last_run: START,
    counter: 1,
  });
  await flow.stop();
});

Deno.test("a tick that a process left unfinished runs again at the next start, at once", async () => {
  const world = given();
  const never = new Promise<Outcome>(() => {});
  const first = await startGenerate({ cron: "* * * * *" }, { ...world, end: () => never });
  await world.clock.advance(90_000);
  assert.deepEqual(times(first.events), [60_000]);
  const second = await startGenerate({ cron: "* * * * *" }, {
    ...world,
    store: guardedStore(world.store, () => {}), // another process: not the same object
    nodeId: "node-b",
  });
  await world.clock.advance(30_000);
  assert.deepEqual(times(second.events), [90_000, 120_000]);
  await second.stop();
});

Deno.test("a new generation waits for the old one's run to end, and goes on with its record", async () => {
  const world = given();
  const { promise, resolve } = Promise.withResolvers<Outcome>();
  const old = await startGenerate({ interval: "500ms" }, { ...world, end: () => promise });
  const stopped = old.stop();
  const next = await startGenerate({ interval: "500ms" }, world);
  await world.clock.advance(100);
  assert.equal(next.events.length, 0);
  resolve(DONE);
  await stopped;
  await world.clock.advance(900);
  assert.deepEqual(times(next.events), [500, 1_000]);
  await next.stop();
});

Deno.test("a run that was stopped half-way is not lost: it runs again at the next start", async () => {
  const world = given();
  const { promise, resolve } = Promise.withResolvers<Outcome>();
  const old = await startGenerate({ interval: "1h" }, { ...world, end: () => promise });
  const stopped = old.stop();
  resolve(STOPPED);
  await stopped;
  const next = await startGenerate({ interval: "1h" }, world);
  await world.clock.advance(0);
  assert.deepEqual([next.events.length, (await recordIn(world.store)).counter], [1, 1]);
  await next.stop();
});

Deno.test("a run that is done is not repeated because the store was away when it ended", async () => {
  const world = given();
  let broken = false;
  const store = guardedStore(world.store, () => {
    if (broken) throw new FlowError("store.unavailable", "away");
  });
  const flow = await startGenerate({ interval: "10s" }, {
    ...world,
    store,
    end: () => (broken = true, DONE),
  });
  assert.equal((flow.run.error as FlowError).code, "store.unavailable");
  await flow.again();
  assert.equal((flow.run.error as FlowError).code, "store.unavailable");
  broken = false;
  await flow.again();
  await world.clock.advance(5_000);
  assert.deepEqual(times(flow.events), [0]);
  assert.equal((await recordIn(world.store)).counter, 1);
  await flow.stop();
});

Deno.test("a record that cannot be read ends the run with an error", async () => {
  const world = given();
  await world.store.put(["flow", "test/flow", "tick", "tick"], new Uint8Array([1]));
  const flow = await startGenerate({ interval: "1s" }, world);
  assert.equal((flow.run.error as FlowError).code, "store.record_invalid");
  assert.equal(flow.events.length, 0);
});

Deno.test("two nodes on one store run each tick once, or once each with scope node", async () => {
  for (const [scope, expected] of [["cluster", 4], ["node", 8]] as const) {
    const world = given();
    const config = { interval: "1s", scope };
    const a = await startGenerate(config, world);
    const b = await startGenerate(config, { ...world, nodeId: "node-b" });
    await world.clock.advance(3_000);
    assert.equal(a.events.length + b.events.length, expected);
    await a.stop();
    await b.stop();
  }
});

Deno.test("scope node keeps its record under the node's id", async () => {
  const world = given();
  const flow = await startGenerate({ count: 1, scope: "node" }, world);
  assert.equal(flow.events.length, 1);
  const key = ["flow", "test/flow", "tick", "tick", "node-a"];
  assert.equal((await recordIn(world.store, key)).counter, 1);
});

Deno.test("generate checks its fields together and tells all that is wrong", async () => {
  const scheduler = minuteScheduler(new TestClock());
  const findings = (config: unknown) => findingsOf(generate, config, { scheduler });
  assert.deepEqual(await findings({ interval: "1s" }), []);
  assert.deepEqual(await findings({}), [
    'config.missing_key Expected "interval", "cron" or "count"',
  ]);
  assert.deepEqual(await findings({ interval: "1s", cron: "* * * * *" }), [
    'config.conflicting_keys Cannot use "interval" together with "cron"',
  ]);
  assert.deepEqual(await findings({ count: 1, timezone: "UTC" }), [
    'config.unused_key "timezone" has a meaning with "cron" only',
  ]);
  assert.deepEqual(await findings({ cron: "daily" }), [
    'config.cron_invalid Cannot read the cron "daily"',
  ]);
  assert.deepEqual(await findings({ cron: "* * * * *", timezone: "Mars/Base" }), [
    'config.timezone_invalid Cannot find the timezone "Mars/Base"',
  ]);
  assert.deepEqual(await findings({ count: 1, payload: { id: "{{event.data.id}}" } }), [
    'config.invalid_value Cannot find "event.data.id" in the event',
  ]);
});
