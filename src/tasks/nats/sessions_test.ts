import assert from "node:assert/strict";
import { TestClock } from "../../core/clock.ts";
import { FlowError } from "../../core/errors.ts";
import { inSessions } from "./sessions.ts";
import { handOutput } from "./testing.ts";

const lost = () => Promise.reject(new FlowError("nats.unavailable", "Away"));

/** Jitter of 1. */
const random = { next: () => 0.5 };

Deno.test("a source in trouble says so and tries again, later each time, up to half a minute", async () => {
  const clock = new TestClock();
  const output = handOutput();
  const told: (string | null)[] = [];
  const began: number[] = [];
  const start = clock.now();
  const running = inSessions({
    output: { ...output, trouble: (cause) => void told.push(cause && cause.message) },
    clock,
    random,
    what: "read",
    session() {
      began.push(clock.now() - start);
      return lost();
    },
  });
  await clock.advance(100_000);
  assert.deepEqual(began, [0, 500, 1_500, 3_500, 7_500, 15_500, 31_500, 61_500, 91_500]);
  assert.deepEqual(told, began.map(() => "Away"));
  output.abort();
  await running;
  assert.equal(clock.pending, 0);
});

Deno.test("a session that went well for a while was no failed attempt", async () => {
  const clock = new TestClock();
  const output = handOutput();
  const began: number[] = [];
  const start = clock.now();
  const running = inSessions({
    output: { ...output, trouble: () => {} },
    clock,
    random,
    what: "read",
    async session() {
      began.push(clock.now() - start);
      await new Promise<void>((resolve) => clock.after(20_000, resolve));
      await lost();
    },
  });
  await clock.advance(62_000);
  output.abort();
  assert.deepEqual(began, [0, 20_500, 41_000, 61_500]);
  await clock.advance(20_000);
  await running;
});

Deno.test("what breaks because the source shall stop is no trouble", async () => {
  const output = handOutput();
  await inSessions({
    output,
    clock: new TestClock(),
    random,
    what: "read",
    session() {
      output.abort();
      return lost();
    },
  });
});
