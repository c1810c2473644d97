import assert from "node:assert/strict";
import { type Clock, TestClock } from "../core/clock.ts";
import { testScheduler } from "./testing.ts";
import { TimerScheduler } from "./timers.ts";

testScheduler("timers", ({ clock }) => ({ scheduler: new TimerScheduler({ clock }) }), { lag: 0 });

/** A wall clock that can be set while timers go on as before. */
function steppable(clock: TestClock): Clock & { step(ms: number): void } {
  let offset = 0;
  return {
    now: () => clock.now() + offset,
    monotonic: () => clock.monotonic(),
    after: (ms, run) => clock.after(ms, run),
    step: (ms) => void (offset += ms),
  };
}

Deno.test("timers: what fell due while the machine slept runs within a minute", async () => {
  const clock = new TestClock();
  const wall = steppable(clock);
  let ran = 0;
  new TimerScheduler({ clock: wall }).at(wall.now() + 8 * 3_600_000, () => void ran++);
  await clock.advance(90_000);
  wall.step(9 * 3_600_000);
  await clock.advance(60_000);
  assert.equal(ran, 1);
});

Deno.test("timers: a wall clock that is set back is waited for", async () => {
  const clock = new TestClock();
  const wall = steppable(clock);
  let ran = 0;
  new TimerScheduler({ clock: wall }).at(wall.now() + 10_000, () => void ran++);
  wall.step(-3_600_000);
  await clock.advance(3_609_999);
  assert.equal(ran, 0);
  await clock.advance(1);
  assert.equal(ran, 1);
});

Deno.test("timers: a cancelled wait leaves no timer behind, also not a long one", async () => {
  const clock = new TestClock();
  const waiting = new TimerScheduler({ clock }).at(clock.now() + 3_600_000, () => {});
  await clock.advance(150_000);
  waiting.cancel();
  assert.equal(clock.pending, 0);
});
