import assert from "node:assert/strict";
import { TestClock } from "../core/clock.ts";
import { FlowError } from "../core/errors.ts";
import { type Log, silentLog } from "../core/log.ts";
import { testEvent } from "../flow/testing.ts";
import { HandSource, startFlow, sync } from "./testing.ts";

Deno.test("failures are logged at once, then once a second, and the rest when the flow stops", async () => {
  const clock = new TestClock(0);
  const records: unknown[] = [];
  const log: Log = {
    ...silentLog,
    warning: (_, fields) =>
      void records.push([clock.now(), fields!.error, fields!.others, fields!.at]),
    with: () => log,
  };
  const source = new HandSource();
  const { run } = await startFlow([
    source.task(),
    sync("broken", ({ data }) => {
      throw new FlowError("event.invalid", String(data));
    }),
  ], { clock, log });
  const fail = (from: number, to: number) => {
    for (let n = from; n <= to; n++) source.output.emit(testEvent(n), () => {});
  };
  fail(1, 1);
  assert.equal(clock.pending, 1, "one failure needs no timer beside the source's");
  await clock.advance(400);
  fail(2, 100);
  await clock.advance(5_000);
  fail(101, 150);
  await run.stop(0);
  assert.deepEqual(records, [
    [0, "1", undefined, "test.yaml:1:1"],
    [1_000, "100", 98, "test.yaml:1:1"],
    [5_400, "101", undefined, "test.yaml:1:1"],
    [5_400, "150", 48, "test.yaml:1:1"],
  ]);
  assert.equal(clock.pending, 0);
});

Deno.test("an answer that is a failure is logged, also when the delivery is done", async () => {
  const told: unknown[] = [];
  const log: Log = {
    ...silentLog,
    warning: (_, fields) => void told.push([fields!.code, fields!.correlation_id]),
    with: () => log,
  };
  const ask = async (tasks: Parameters<typeof startFlow>[0], options = {}) => {
    const source = new HandSource({ request: true });
    const { run } = await startFlow([source.task("in", options), ...tasks], { log });
    await source.output.request(testEvent(1));
    await run.stop(0);
  };
  const broken = sync("broken", () => {
    throw new FlowError("event.invalid", "no");
  });
  const id = testEvent(1).meta.correlation_id;
  await ask([broken, sync("handler", () => {}, { when: "error" })]);
  await ask([sync("two", (event, _, call) => call.expand([event, event]))], { reply: "one" });
  assert.deepEqual(told, [["event.invalid", id], ["flow.reply_not_one", id]]);
});
