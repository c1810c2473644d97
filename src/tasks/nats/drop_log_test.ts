import assert from "node:assert/strict";
import { TestClock } from "../../core/clock.ts";
import { DropLog } from "./drop_log.ts";
import { keptLog } from "./testing.ts";

Deno.test("dropped messages are told at once, then in sums", async () => {
  const clock = new TestClock();
  const log = keptLog();
  const drops = new DropLog(log, clock);
  const told = () => log.records.map(([, { dropped }]) => dropped);
  for (let n = 0; n < 5; n++) drops.add();
  assert.deepEqual(told(), [1]);
  await clock.advance(10_000);
  assert.deepEqual(told(), [1, 4]);
  await clock.advance(10_000);
  assert.deepEqual([told(), clock.pending], [[1, 4], 0]);
  drops.add();
  drops.add();
  drops.flush();
  assert.deepEqual([told(), clock.pending], [[1, 4, 1, 1], 0]);
});
