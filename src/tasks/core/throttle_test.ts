import assert from "node:assert/strict";
import { settle, TestClock } from "../../core/clock.ts";
import type { FlowEvent } from "../../flow/event.ts";
import { testCall, testContext, testEvent } from "../../flow/testing.ts";
import { throttle } from "./throttle.ts";

async function start(config: unknown) {
  const clock = new TestClock();
  const context = testContext(throttle, config, { clock });
  const run = await throttle.create(context);
  const passed: unknown[] = [];
  const send = async (data: string | { k: string }, signal = new AbortController().signal) => {
    const out = await run(testEvent(data), testCall(() => {}, { signal }));
    if (out) passed.push((out as FlowEvent).data);
    return out;
  };
  const close = async () => {
    for (const close of context.closers) await close();
  };
  return { clock, run, send, passed, close };
}

Deno.test("throttle makes events beyond the limit wait for their turn, in order", async () => {
  const { clock, send, passed } = await start({ limit: 2, interval: "1s" });
  for (const data of ["a", "b", "c", "d"]) void send(data);
  await settle();
  assert.deepEqual(passed, ["a", "b"]);
  await clock.advance(499);
  assert.deepEqual(passed, ["a", "b"]);
  await clock.advance(1);
  assert.deepEqual(passed, ["a", "b", "c"]);
  await clock.advance(500);
  assert.deepEqual(passed, ["a", "b", "c", "d"]);
});

Deno.test("throttle answers without a promise while there is room", async () => {
  const { run, close } = await start({ limit: 1 });
  const event = testEvent("a");
  assert.equal(run(event, testCall(() => {})), event);
  await close();
});

Deno.test("throttle limits each key for itself", async () => {
  const { clock, send, passed } = await start({ limit: 1, key: "{{event.data.k}}" });
  for (const k of ["a", "a", "b"]) void send({ k });
  await settle();
  assert.deepEqual(passed, [{ k: "a" }, { k: "b" }]);
  await clock.advance(1_000);
  assert.equal(passed.length, 3);
});

Deno.test("throttle can drop what is beyond the limit, which takes nothing from later events", async () => {
  const { clock, send, passed, close } = await start({ limit: 1, on_limit: "drop" });
  for (const data of ["a", "b", "c"]) await send(data);
  await clock.advance(1_000);
  await send("d");
  assert.deepEqual(passed, ["a", "d"]);
  await close();
});

Deno.test("throttle can fail what is beyond the limit, and says when to come again", async () => {
  const { send, close } = await start({ limit: 2, interval: "10s", on_limit: "fail" });
  await send("a");
  await send("b");
  await assert.rejects(send("c"), {
    code: "throttle.limited",
    message: "Cannot let more than 2 pass in 10s",
    retryAfter: 5_000,
    remedy: "event",
  });
  await close();
});

Deno.test("an event that expires while it waits throws, and its turn goes to another", async () => {
  const { clock, send, passed } = await start({ limit: 1 });
  await send("a");
  const expired = new AbortController();
  const waiting = send("b", expired.signal);
  await settle();
  expired.abort(new Error("expired"));
  await assert.rejects(waiting, { message: "expired" });
  void send("c");
  await clock.advance(1_000);
  assert.deepEqual(passed, ["a", "c"]);
  await clock.advance(1_000);
});

Deno.test("throttle keeps no timer when nothing is limited any more, nor after it ended", async () => {
  const { clock, send, close } = await start({ limit: 1 });
  await send("a");
  assert.equal(clock.pending, 1);
  await clock.advance(1_000);
  assert.equal(clock.pending, 0);
  await send("b");
  await close();
  assert.equal(clock.pending, 0);
});
