import assert from "node:assert/strict";
import { runTask, testCall, testContext, testEvent } from "../../flow/testing.ts";
import type { FlowEvent, Json } from "../../flow/event.ts";
import { iterate } from "./iterate.ts";

const run = (iterate_key: string | undefined, data: unknown) =>
  runTask(iterate, { config: { iterate_key }, input: [data] });

Deno.test("iterate says what it found in place of a list", () => {
  const cases: [string | undefined, unknown, string][] = [
    ["items", { items: "a,b" }, 'Expected a list at "items", got text'],
    ["items", { items: null }, 'Expected a list at "items", got null'],
    ["items", {}, 'Expected a list at "items", got nothing'],
    ["a.b", { a: 1 }, 'Expected a list at "a.b", got nothing'],
    ["items", [1], 'Expected a list at "items", got nothing'],
    ["constructor", {}, 'Expected a list at "constructor", got nothing'],
    [undefined, { items: [] }, "Expected a list as data, got an object"],
    [undefined, new Uint8Array(1), "Expected a list as data, got bytes"],
    [undefined, 3, "Expected a list as data, got a number"],
    [undefined, true, "Expected a list as data, got true or false"],
  ];
  for (const [key, data, message] of cases) {
    assert.throws(() => run(key, data), { code: "event.not_a_list", message });
  }
});

Deno.test("iterate takes a key with dots in it before a path", () => {
  assert.deepEqual(run("a.b", { "a.b": [1], a: { b: [2] } }), [1]);
});

Deno.test("iterate emits null and nested lists as elements", () => {
  assert.deepEqual(run(undefined, [null, [1, 2]]), [null, [1, 2]]);
});

Deno.test("iterate expands an empty list too, so that a request hears of an empty list", async () => {
  const expanded: number[] = [];
  const step = await iterate.create(testContext(iterate, {}));
  const call = testCall(() => {}, { expand: (events) => expanded.push([...events].length) });
  step(testEvent([]), () => assert.fail("nothing to emit"), call);
  assert.deepEqual(expanded, [0]);
});

Deno.test("iterate makes elements only as they are asked for", async () => {
  let read = 0;
  const list = new Proxy([1, 2, 3] as Json[], {
    get: (
      target,
      name,
    ) => (name === "0" || name === "1" || name === "2" ? read++ : 0, Reflect.get(target, name)),
  });
  const step = await iterate.create(testContext(iterate, {}));
  const call = testCall(() => {}, {
    expand: (events) => void events[Symbol.iterator]().next(),
  });
  step(testEvent(list), () => {}, call);
  assert.equal(read, 1);
});

Deno.test("what iterate emits has its name as subject, and keeps time and meta of the event", async () => {
  const out: FlowEvent[] = [];
  const step = await iterate.create(testContext(iterate, {}, { name: "each" }));
  const event = testEvent([1], { id: "7", meta: { tenant: "t" } });
  step(event, () => {}, testCall((one) => out.push(one)));
  const { subject, timestamp, meta, id } = out[0]!;
  assert.deepEqual({ subject, timestamp, meta, id }, {
    subject: "each",
    timestamp: event.timestamp,
    meta: event.meta,
    id: undefined,
  });
});
