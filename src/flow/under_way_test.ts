import assert from "node:assert/strict";
import { settle, TestClock } from "../core/clock.ts";
import { LONGEST_ALONE, UnderWay } from "./under_way.ts";

function waiting(underWay: UnderWay) {
  const clock = new TestClock();
  const stop = new AbortController();
  const state = { quiet: false };
  void underWay.quiet(LONGEST_ALONE, clock, stop.signal).then(() => state.quiet = true);
  return { clock, stop, state };
}

Deno.test("it is quiet when all that was begun has ended", async () => {
  const underWay = new UnderWay();
  const idle = waiting(underWay);
  await settle();
  assert.equal(idle.state.quiet, true);
  underWay.begin();
  underWay.begin();
  const { state } = waiting(underWay);
  underWay.end();
  await settle();
  assert.equal(state.quiet, false);
  underWay.end();
  await settle();
  assert.equal(state.quiet, true);
});

Deno.test("nobody waits longer than the limit, a stop, or being let go", async () => {
  const underWay = new UnderWay();
  underWay.begin();
  const late = waiting(underWay);
  await late.clock.advance(LONGEST_ALONE - 1);
  assert.equal(late.state.quiet, false);
  await late.clock.advance(1);
  assert.equal(late.state.quiet, true);
  const stopped = waiting(underWay);
  stopped.stop.abort();
  const gone = waiting(underWay);
  underWay.letGo();
  await settle();
  assert.deepEqual([stopped.state.quiet, gone.state.quiet], [true, true]);
});
