import assert from "node:assert/strict";
import { settle, TestClock } from "../core/clock.ts";
import { coalesced } from "./nudges.ts";

/** Changes that the test makes, and the times of the nudges that come of them. */
function setUp() {
  const clock = new TestClock(0);
  const ended = new AbortController();
  const { readable, writable } = new TransformStream<string, string>(undefined, {
    highWaterMark: 100,
  });
  const writer = writable.getWriter();
  const nudges: number[] = [];
  const reading = (async () => {
    for await (const _ of coalesced(readable, { clock, signal: ended.signal })) {
      nudges.push(clock.now());
    }
  })();
  return {
    clock,
    nudges,
    reading,
    change: () => void writer.write("x"),
    end: () => writer.close(),
  };
}

Deno.test("the first nudge comes at once, for what changed before", async () => {
  const { nudges, reading, end } = setUp();
  await settle();
  assert.deepEqual(nudges, [0]);
  await end();
  await reading;
});

Deno.test("changes that are close are one nudge, when they are over", async () => {
  const { clock, nudges, reading, change, end } = setUp();
  await settle();
  for (let n = 0; n < 5; n++) {
    change();
    await clock.advance(50);
  }
  await clock.advance(1_000);
  assert.deepEqual(nudges, [0, 300]);
  await end();
  await reading;
});

Deno.test("changes that never stop are told once a second", async () => {
  const { clock, nudges, reading, change, end } = setUp();
  await settle();
  for (let n = 0; n < 50; n++) {
    change();
    await clock.advance(50);
  }
  await clock.advance(1_000);
  assert.deepEqual(nudges.slice(0, 3), [0, 1_000, 2_000]);
  await end();
  await reading;
});

Deno.test("a watch that fails is a failure of the nudges, and leaves no timer behind", async () => {
  const clock = new TestClock(0);
  async function* failing() {
    yield 1;
    throw new Error("the watch broke");
  }
  const nudges = coalesced(failing(), { clock, signal: new AbortController().signal });
  await nudges.next();
  await assert.rejects(nudges.next(), { message: "the watch broke" });
  assert.equal(clock.pending, 0);
});
