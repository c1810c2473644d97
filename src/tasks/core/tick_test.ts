import assert from "node:assert/strict";
import fc from "fast-check";
import { TestClock } from "../../core/clock.ts";
import type { Schedule } from "../../flow/scheduler.ts";
import { MemoryStore } from "../../store/memory.ts";
import { guardedStore, minuteScheduler } from "./testing.ts";
import { decide, finished, latestDue, NEVER_RUN, TickLedger, type TickPlan } from "./tick.ts";

const CRON = { cron: "* * * * *", timezone: "UTC" };
const MINUTE = 60_000;

function planOf(some: Partial<TickPlan> & { schedule: Schedule | null }): TickPlan {
  return {
    count: undefined,
    catchUp: "one",
    next: minuteScheduler(new TestClock()).next,
    ...some,
  };
}

const every = (interval: number, some: Partial<TickPlan> = {}) =>
  planOf({ schedule: { interval }, ...some });
const idle = (tick: number | null, counter = 0) => ({ ...NEVER_RUN, tick, counter });
const due = (at: number, left = false) => ({ kind: "due", at, left });

Deno.test("the first tick of an interval is due at once, that of a cron at its time", () => {
  assert.deepEqual(decide(NEVER_RUN, every(1_000), 5, false), due(5));
  assert.deepEqual(decide(NEVER_RUN, planOf({ schedule: CRON }), 5, false), due(MINUTE));
});

Deno.test("an interval tick is the stored one plus the interval, however late that one ran", () => {
  assert.deepEqual(decide(idle(100), every(1_000), 700, false), due(1_100));
  assert.equal(latestDue(1_100, every(1_000), 1_109), 1_100);
});

Deno.test("an overdue tick is due at once, and stands for all that were missed", () => {
  const plan = every(10);
  assert.deepEqual(decide(idle(100), plan, 157, false), due(110));
  assert.equal(latestDue(110, plan, 157), 150);
  const cron = planOf({ schedule: CRON });
  assert.deepEqual(decide(idle(MINUTE), cron, 5 * MINUTE + 9, false), due(2 * MINUTE));
  const tick = latestDue(2 * MINUTE, cron, 5 * MINUTE + 9);
  assert.deepEqual(decide(idle(tick), cron, 5 * MINUTE + 9, false), due(6 * MINUTE));
});

Deno.test("without catching up, missed ticks are skipped and the grid is kept", () => {
  const plan = every(10, { catchUp: "none" });
  assert.deepEqual(decide(idle(100), plan, 157, false), due(160));
  assert.deepEqual(decide(idle(100), plan, 150, false), due(150));
  assert.deepEqual(decide(idle(100), plan, 103, false), due(110));
  const cron = planOf({ schedule: CRON, catchUp: "none" });
  assert.deepEqual(decide(idle(MINUTE), cron, 5 * MINUTE + 9, false), due(6 * MINUTE));
});

Deno.test("a tick that another node runs is busy, and due again when that node is gone", () => {
  const running = { ...idle(100), state: "running" as const, holder: "b" };
  assert.deepEqual(decide(running, every(10), 157, false), { kind: "busy" });
  assert.deepEqual(
    decide(running, every(10), 157, true),
    due(100, true),
  );
});

Deno.test("nothing is due after the count, or when the schedule has no further time", () => {
  assert.deepEqual(decide(idle(100, 3), every(10, { count: 3 }), 157, false), { kind: "over" });
  const past = { cron: "0 0 1 1 * 2020", timezone: "UTC" };
  for (const tick of [null, 5]) {
    assert.deepEqual(decide(idle(tick), planOf({ schedule: past }), 157, false), { kind: "over" });
  }
});

Deno.test("a clock that was set back far does not stop the ticks until it caught up", () => {
  const year = 365 * 86_400_000;
  assert.deepEqual(decide(idle(year), every(1_000), 500, false), due(1_500));
  // A few milliseconds are the difference between two nodes' clocks: no second run of the tick.
  assert.deepEqual(decide(idle(1_000), every(1_000), 990, false), due(2_000));
  assert.deepEqual(
    decide(idle(MINUTE), planOf({ schedule: CRON }), MINUTE - 5, false),
    due(2 * MINUTE),
  );
});

Deno.test("a tick that was left while the clock was ahead runs again at once", () => {
  const year = 365 * 86_400_000;
  const left = { ...idle(year), state: "running" as const, holder: "b" };
  for (const schedule of [{ interval: 1_000 }, CRON]) {
    const plan = planOf({ schedule });
    assert.deepEqual(decide(left, plan, 500, true), due(500, true));
    assert.deepEqual(decide({ ...left, tick: 1_000 }, plan, 990, true), due(1_000, true));
  }
});

Deno.test("only a delivery that is done moves last_run and counter", () => {
  const running = { ...idle(100, 4), state: "running" as const, holder: "a" };
  const plan = every(10);
  assert.deepEqual(finished(running, { ok: true, started: 103, ended: 109 }, plan), {
    ...running,
    state: "idle",
    last_run: 103,
    counter: 5,
  });
  assert.deepEqual(finished(running, { ok: false, started: 103, ended: 109 }, plan), {
    ...running,
    state: "idle",
  });
});

Deno.test("what fell due during a run that failed is not caught up at once", () => {
  const running = { ...idle(100), state: "running" as const, holder: "a" };
  const failed = finished(running, { ok: false, started: 103, ended: 157 }, every(10));
  assert.deepEqual(decide(failed, every(10), 157, false), due(160));
});

const KEY = ["flow", "f", "tick", "t"];

Deno.test("of two that saw the same record, one gets the tick", async () => {
  const store = new MemoryStore({ clock: new TestClock() });
  const [a, b] = [new TickLedger(store, KEY), new TickLedger(store, KEY)];
  const seen = [await a.read(), await b.read()] as const;
  assert.ok(await a.claim(seen[0], 5, "a"));
  assert.equal(await b.claim(seen[1], 5, "b"), null);
  const again = await b.read();
  assert.deepEqual(again.record, { ...idle(5), state: "running", holder: "a" });
});

Deno.test("a record that cannot be read is an error, never a start from zero", async () => {
  const store = new MemoryStore({ clock: new TestClock() });
  const ledger = new TickLedger(store, KEY);
  const write = (text: string) => store.put(KEY, new TextEncoder().encode(text));
  for (const text of ["", "7", '{"v":1,"tick":"x"}', '{"tick":1}']) {
    await write(text);
    await assert.rejects(ledger.read(), { code: "store.record_invalid" }, text);
  }
  await write('{"v":2}');
  await assert.rejects(ledger.read(), { code: "store.record_newer" });
});

Deno.test("an end whose answer was lost on the way is not counted twice", async () => {
  const memory = new MemoryStore({ clock: new TestClock() });
  let lose = false;
  const store = new Proxy(memory, {
    get(target, name) {
      if (name !== "update" || !lose) return Reflect.get(target, name).bind(target);
      return async (...args: Parameters<MemoryStore["update"]>) => {
        lose = false;
        await target.update(...args);
        throw new Error("connection lost");
      };
    },
  });
  const plan = every(10);
  const ledger = new TickLedger(store, KEY);
  const claim = await ledger.claim(await ledger.read(), 5, "a");
  const finish = () =>
    ledger.finish(claim!, (record) => finished(record, { ok: true, started: 5, ended: 6 }, plan));
  lose = true;
  await assert.rejects(finish(), { message: "connection lost" });
  assert.equal(await finish(), true);
  assert.equal((await ledger.read()).record.counter, 1);
});

Deno.test("a counter that is reset during a run counts that run as the first", async () => {
  const store = new MemoryStore({ clock: new TestClock() });
  const [a, b] = [new TickLedger(store, KEY), new TickLedger(store, KEY)];
  const run = { ok: true, started: 5, ended: 6 };
  const end = (record: typeof NEVER_RUN) => finished(record, run, every(10));
  await a.finish((await a.claim(await a.read(), 5, "a"))!, end);
  const claim = await a.claim(await a.read(), 15, "a");
  await b.resetCounter();
  assert.equal(await a.finish(claim!, end), true);
  assert.equal((await a.read()).record.counter, 1);
});

/** What becomes of one run: its node may end, or be taken for ended while it is not. */
type Fate = "done" | "failed" | "crash" | "taken for gone";
const fates = fc.array(
  fc.constantFrom<Fate>("done", "done", "done", "failed", "crash", "taken for gone"),
  { minLength: 1, maxLength: 5 },
);

Deno.test("whoever comes when, no tick runs twice at once and the counter skips nothing", async () => {
  const nodes = fc.array(fates, { minLength: 2, maxLength: 4 });
  await fc.assert(
    fc.asyncProperty(fc.scheduler(), nodes, async (s, nodes) => {
      const memory = new MemoryStore({ clock: new TestClock() });
      const turn = () => s.schedule(Promise.resolve());
      const store = guardedStore(memory, turn);
      const gone = new Set<string>();
      const active = new Set<string>();
      const counted: number[] = [];
      const done: number[] = [];
      let now = 0;

      async function node(id: string, fates: readonly Fate[]) {
        const plan = every(10);
        const ledger = new TickLedger(store, KEY);
        for (let next = 0; next < fates.length;) {
          const seen = await ledger.read();
          const decision = decide(seen.record, plan, now, gone.has(seen.record.holder!));
          if (decision.kind !== "due") {
            await turn();
            continue;
          }
          now = Math.max(now, decision.at) + 1;
          const tick = decision.left ? decision.at : latestDue(decision.at, plan, now);
          const claim = await ledger.claim(seen, tick, id);
          if (!claim) continue;
          active.add(id);
          assert.deepEqual([...active], [id], "two run at once");
          const fate = fates[next++]!;
          const started = now;
          await turn();
          if (fate === "crash" || fate === "taken for gone") {
            active.delete(id);
            gone.add(id);
            if (fate === "crash") return;
            await turn();
          }
          active.delete(id);
          const run = { ok: fate !== "failed", started, ended: now };
          const counts = await ledger.finish(claim, (record) => finished(record, run, plan));
          if (counts && run.ok) {
            counted.push(claim.record.counter);
            done.push(tick);
          }
          if (!gone.has(id)) assert.ok(counts, "a live node keeps its claim");
          else return;
        }
      }

      await s.waitFor(Promise.all(nodes.map((fates, i) => node(`n${i}`, fates))));
      const { record } = await new TickLedger(memory, KEY).read();
      assert.equal(record.counter, counted.length);
      counted.sort((a, b) => a - b);
      assert.deepEqual(counted, counted.map((_, i) => i));
      assert.equal(new Set(done).size, done.length, "a tick that is done runs again");
    }),
    { numRuns: 300 },
  );
});
