import assert from "node:assert/strict";
import { settle, TestClock } from "../core/clock.ts";
import { PlatformScheduler } from "./platform.ts";
import { clockCron, testScheduler } from "./testing.ts";

function start(clock = new TestClock()): { clock: TestClock; scheduler: PlatformScheduler } {
  const scheduler = new PlatformScheduler({ clock, cron: clockCron(clock) });
  scheduler.start();
  return { clock, scheduler };
}

testScheduler("platform", ({ clock }) => {
  const { scheduler } = start(clock);
  return { scheduler, stop: () => scheduler.stop() };
}, { lag: 60_000 });

Deno.test("platform: what is due between two ticks runs at its time inside the tick", async () => {
  const { clock, scheduler } = start();
  const begin = clock.now();
  const ran: number[] = [];
  for (const second of [65, 80, 109]) {
    scheduler.at(begin + second * 1_000, () => void ran.push(clock.now() - begin));
  }
  await clock.advance(110_000);
  assert.deepEqual(ran, [65_000, 80_000, 109_000]);
  await scheduler.stop();
});

Deno.test("platform: nothing is started once 50 seconds of a tick are over", async () => {
  const { clock, scheduler } = start();
  const begin = clock.now();
  const ran: number[] = [];
  const slow = Promise.withResolvers<void>();
  scheduler.at(begin + 60_000, () => slow.promise);
  scheduler.at(begin + 111_000, () => void ran.push(clock.now() - begin));
  await clock.advance(119_000);
  scheduler.at(begin + 119_000, () => void ran.push(clock.now() - begin));
  await clock.advance(500);
  assert.deepEqual(ran, []);
  slow.resolve();
  await clock.advance(500);
  assert.deepEqual(ran, [120_000, 120_000]);
  await scheduler.stop();
});

Deno.test("platform: the tick ends only when all it started has ended", async () => {
  const clock = new TestClock();
  let handler = () => Promise.resolve();
  const cron = (_name: string, _schedule: string, _options: unknown, run: () => Promise<void>) => {
    handler = run;
    return Promise.resolve();
  };
  const scheduler = new PlatformScheduler({ clock, cron });
  scheduler.start();
  const slow = Promise.withResolvers<void>();
  scheduler.at(clock.now(), () => slow.promise);
  let ended = false;
  const tick = handler().then(() => ended = true);
  await clock.advance(600_000);
  assert.equal(ended, false);
  slow.resolve();
  await tick;
  assert.equal(clock.pending, 0);
});

Deno.test("platform: a tick with nothing to do ends at once", async () => {
  const { clock, scheduler } = start();
  scheduler.at(clock.now() + 3_600_000, () => {});
  await clock.advance(60_000);
  assert.equal(clock.pending, 1); // the next tick, and nothing that keeps this one alive
  await scheduler.stop();
});

Deno.test("platform: what is asked for while a tick waits is started in the same tick", async () => {
  const { clock, scheduler } = start();
  const begin = clock.now();
  scheduler.at(begin + 100_000, () => {});
  await clock.advance(65_000);
  let at = 0;
  scheduler.at(begin + 70_000, () => void (at = clock.now() - begin));
  await clock.advance(5_000);
  assert.equal(at, 70_000);
  await scheduler.stop();
});

Deno.test("platform: what fell due between ticks runs in order, unless cancelled just before", async () => {
  const { clock, scheduler } = start();
  const begin = clock.now();
  const ran: string[] = [];
  const third = scheduler.at(begin + 17_000, () => void ran.push("third"));
  scheduler.at(begin + 16_000, () => {
    ran.push("second");
    third.cancel();
  });
  scheduler.at(begin + 15_000, () => void ran.push("first"));
  await clock.advance(60_000);
  assert.deepEqual(ran, ["first", "second"]);
  await scheduler.stop();
});

Deno.test("platform: the tick is registered once, under one name, every minute", async () => {
  const clock = new TestClock();
  const registered: string[] = [];
  const scheduler = new PlatformScheduler({
    clock,
    cron(name, schedule, ...rest) {
      registered.push(`${name}: ${schedule}`);
      return clockCron(clock)(name, schedule, ...rest);
    },
  });
  assert.deepEqual(registered, []);
  scheduler.start();
  scheduler.start();
  assert.deepEqual(registered, ["flowgen tick: * * * * *"]);
  await scheduler.stop();
  assert.throws(() => scheduler.start(), { code: "scheduler.started_after_stop" });
});

Deno.test("platform: stop starts nothing more and waits for what runs", async () => {
  const { clock, scheduler } = start();
  const begin = clock.now();
  const slow = Promise.withResolvers<void>();
  let ran = 0;
  scheduler.at(begin + 60_000, () => slow.promise);
  scheduler.at(begin + 65_000, () => void ran++);
  await clock.advance(61_000);
  let stopped = false;
  const stopping = scheduler.stop().then(() => stopped = true);
  scheduler.at(begin + 62_000, () => void ran++);
  await clock.advance(300_000);
  assert.deepEqual([ran, stopped], [0, false]);
  slow.resolve();
  await stopping;
  await settle();
  assert.equal(clock.pending, 0);
});

Deno.test("platform: Deno.cron takes the tick, and takes it again after a stop", async () => {
  const clock = new TestClock();
  for (let i = 0; i < 2; i++) {
    const scheduler = new PlatformScheduler({ clock });
    scheduler.start();
    await scheduler.stop();
  }
});
