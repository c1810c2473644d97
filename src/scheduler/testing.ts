import assert from "node:assert/strict";
import { settle, TestClock } from "../core/clock.ts";
import type { Scheduler } from "../flow/scheduler.ts";
import type { PlatformCron } from "./platform.ts";

/** A `Deno.cron` that `clock` drives: it calls at every full minute, never twice at a time. */
export function clockCron(clock: TestClock): PlatformCron {
  return (_name, schedule, { signal }, handler) => {
    assert.equal(schedule, "* * * * *");
    return new Promise((resolve) => {
      let timer = clock.after(untilMinute(clock), tick);
      async function tick() {
        await handler();
        if (!signal.aborted) timer = clock.after(untilMinute(clock), tick);
      }
      signal.addEventListener("abort", () => {
        timer.clear();
        resolve();
      }, { once: true });
    });
  };
}

function untilMinute(clock: TestClock): number {
  return 60_000 - clock.now() % 60_000;
}

export interface SchedulerTestOptions {
  /** Milliseconds by which the driver's platform may be late. */
  readonly lag: number;
}

/** What every driver of `Scheduler` promises. The clock stands at a full minute. */
export function testScheduler(
  name: string,
  make: (given: { clock: TestClock }) => { scheduler: Scheduler; stop?: () => Promise<void> },
  { lag }: SchedulerTestOptions,
): void {
  const test = (
    sentence: string,
    run: (given: { scheduler: Scheduler; clock: TestClock; start: number }) => Promise<void>,
  ) => {
    Deno.test(`${name}: ${sentence}`, async () => {
      const clock = new TestClock("2030-01-01T00:00:00Z");
      const { scheduler, stop } = make({ clock });
      await run({ scheduler, clock, start: clock.now() });
      await stop?.();
      await settle();
    });
  };

  test("runs once, not before its time and no later than the platform allows", async (given) => {
    const { scheduler, clock, start } = given;
    const delays = [1, 250, 1_000, 59_999, 60_000, 90_000, 5 * 60_000, 40 * 86_400_000];
    for (const delay of delays) {
      const time = start + delay;
      const ran: number[] = [];
      scheduler.at(time, () => void ran.push(clock.now()));
      if (time > clock.now()) await clock.advance(time - 1 - clock.now());
      assert.deepEqual(ran.filter((at) => at < time), []);
      await clock.advance(lag + 1);
      assert.equal(ran.length, 1, `${delay}`);
      await clock.advance(3 * 60_000);
      assert.equal(ran.length, 1, `${delay}`);
    }
  });

  test("runs at once what is already due", async ({ scheduler, clock, start }) => {
    let ran = 0;
    scheduler.at(start - 3_600_000, () => void ran++);
    scheduler.at(start, () => void ran++);
    await clock.advance(lag);
    assert.equal(ran, 2);
  });

  test("runs in the order of their times what waits together", async (given) => {
    const { scheduler, clock, start } = given;
    const ran: number[] = [];
    for (const delay of [63_000, 61_000, 62_000]) {
      scheduler.at(start + delay, () => void ran.push(delay));
    }
    await clock.advance(120_000 + lag);
    assert.deepEqual(ran, [61_000, 62_000, 63_000]);
  });

  test("never runs what was cancelled, and a late cancel does nothing", async (given) => {
    const { scheduler, clock, start } = given;
    const ran: string[] = [];
    const first = scheduler.at(start + 61_000, () => {
      ran.push("first");
      second.cancel();
    });
    const second = scheduler.at(start + 61_001, () => void ran.push("second"));
    const third = scheduler.at(start + 61_000, () => void ran.push("third"));
    third.cancel();
    await clock.advance(120_000 + lag);
    first.cancel();
    second.cancel();
    assert.deepEqual(ran, ["first"]);
  });

  test("goes on when something that was due fails", async ({ scheduler, clock, start }) => {
    let ran = 0;
    scheduler.at(start + 61_000, () => {
      throw new Error("at once");
    });
    scheduler.at(start + 61_000, () => Promise.reject(new Error("later")));
    scheduler.at(start + 61_000, () => void ran++);
    await clock.advance(120_000 + lag);
    scheduler.at(clock.now(), () => void ran++);
    await clock.advance(lag);
    assert.equal(ran, 2);
  });

  test("does not wait for one thing before it starts another", async (given) => {
    const { scheduler, clock, start } = given;
    const slow = Promise.withResolvers<void>();
    let ran = 0;
    scheduler.at(start + 61_000, () => slow.promise);
    scheduler.at(start + 61_000, () => void ran++);
    scheduler.at(start + 62_000, () => void ran++);
    await clock.advance(62_000 + lag);
    assert.equal(ran, 2);
    slow.resolve();
  });

  test("an interval that asks for its next tick from within the last loses none", async (given) => {
    const { scheduler, clock, start } = given;
    const times: number[] = [];
    const tick = (time: number) =>
      void scheduler.at(time, async () => {
        times.push(time);
        await Promise.resolve();
        tick(scheduler.next({ interval: 7_000 }, time)!);
      });
    tick(start + 60_000);
    await clock.advance(60_000 + 10 * 7_000 + lag);
    const expected = times.map((_, i) => start + 60_000 + i * 7_000);
    assert.deepEqual(times, expected);
    assert.ok(times.length >= 11, `${times.length} ticks`);
  });

  test("a cron expression that asks again runs at every match", async (given) => {
    const { scheduler, clock } = given;
    const times: string[] = [];
    const cron = { cron: "*/2 * * * *", timezone: "UTC" };
    const tick = () => {
      const time = scheduler.next(cron, clock.now())!;
      scheduler.at(time, () => {
        times.push(new Date(time).toISOString().slice(11, 16));
        tick();
      });
    };
    tick();
    await clock.advance(6 * 60_000 + lag);
    assert.deepEqual(times.slice(0, 3), ["00:02", "00:04", "00:06"]);
  });
}
