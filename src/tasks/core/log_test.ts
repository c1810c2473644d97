import assert from "node:assert/strict";
import type { FlowEvent } from "../../flow/event.ts";
import { testCall, testContext, testEvent } from "../../flow/testing.ts";
import { log } from "./log.ts";
import { keepingLog } from "./testing.ts";

async function run(config: unknown, event: FlowEvent) {
  const kept = keepingLog();
  const out: FlowEvent[] = [];
  const step = await log.create({ ...testContext(log, config), log: kept });
  step(event, (one) => out.push(one), testCall(() => {}));
  return { lines: kept.lines, out };
}

Deno.test("log passes on the very event it got", async () => {
  const event = testEvent({ a: 1 }, { subject: "reader", id: "7" });
  const { out } = await run({}, event);
  assert.equal(out.length, 1);
  assert.equal(out[0], event);
});

Deno.test("log writes subject, id and data at its level", async () => {
  for (const [level, written] of [["trace", "trace"], ["warn", "warning"], ["error", "error"]]) {
    const { lines } = await run({ level }, testEvent({ a: 1 }, { subject: "reader", id: "7" }));
    assert.deepEqual(lines, [[written, "Event", {
      "event.subject": "reader",
      "event.id": "7",
      data: { a: 1 },
    }]]);
  }
});

Deno.test("log writes at info unless told otherwise", async () => {
  assert.equal((await run({}, testEvent(1))).lines[0]![0], "info");
});

Deno.test("log writes meta only when asked, and the error of a failed event always", async () => {
  const error = {
    message: "m",
    code: "http.timeout",
    task: "t",
    attempts: 1,
    time: "2030-01-01T00:00:00Z",
  };
  const event = testEvent(1, { meta: { tenant: "t" }, error });
  assert.deepEqual((await run({}, event)).lines[0]![2].error, error);
  assert.equal("meta" in (await run({}, event)).lines[0]![2], false);
  assert.deepEqual((await run({ include_meta: true }, event)).lines[0]![2].meta, event.meta);
});

Deno.test("log writes bytes as base64", async () => {
  const { lines } = await run({}, testEvent(new Uint8Array([1, 2, 3])));
  assert.equal(lines[0]![2].data, "AQID");
});
