import assert from "node:assert/strict";
import { settle, TestClock } from "../core/clock.ts";
import { FlowError } from "../core/errors.ts";
import { silentLog } from "../core/log.ts";
import { seededRandom } from "../core/random.ts";
import { testEvent, testServices } from "../flow/testing.ts";
import type { Delivery } from "./delivery.ts";
import { FlowRun } from "./flow_run.ts";
import { buildGraph } from "./graph.ts";
import { Pipeline } from "./pipeline.ts";
import { DEFAULT_RETRY } from "./retry.ts";
import { Intake } from "./source.ts";
import { flowOf, HandSource, startFlow, sync, waits } from "./testing.ts";

Deno.test("a delivery that has ended knows no others, so that each can be forgotten", () => {
  const graph = buildGraph(flowOf([new HandSource().task("in", { ackTimeout: 100 })]));
  const pipeline = new Pipeline(graph, [{ kind: "source" }], {
    clock: new TestClock(),
    random: seededRandom(1),
    log: silentLog,
    retry: DEFAULT_RETRY,
  });
  const opened: Delivery[] = [];
  pipeline.enter = (_port, _event, { delivery }) => {
    delivery.hold();
    opened.push(delivery);
  };
  const failed: unknown[] = [];
  const intake = new Intake(
    pipeline,
    graph.sources[0]!,
    new AbortController().signal,
    (cause) => void failed.push(cause),
  );
  for (let n = 0; n < 5; n++) intake.emit(testEvent(n), () => {});
  // Each that expires ends the one after it, too.
  pipeline.purge = (delivery) => {
    for (const one of opened.splice(opened.indexOf(delivery), 2)) {
      one.settle();
      assert.deepEqual([one.before, one.after], [null, null]);
    }
  };
  intake.end();
  assert.equal(failed.length, 3);
  assert.equal(intake.open, 0);
});

Deno.test("a task that asks for its signal too late finds there why", async () => {
  const source = new HandSource();
  let reason: unknown;
  let work!: () => void;
  const { run, clock } = await startFlow([
    source.task("in", { ackTimeout: 100 }),
    waits("late", async (_, call) => {
      await new Promise<void>((resolve) => work = resolve);
      reason = call.signal.reason;
      return null;
    }),
  ]);
  const outcome = source.output.deliver(testEvent(1));
  await clock.advance(100);
  assert.ok(!(await outcome).ok);
  work();
  await settle();
  assert.ok(reason instanceof FlowError);
  assert.equal(reason.code, "delivery.timeout");
  await run.stop(0);
});

Deno.test("a source of one event at a time waits for the old generation, unless people ask it", async () => {
  for (const request of [false, true]) {
    const source = new HandSource({ window: 1, request });
    const run = await FlowRun.prepare(flowOf([source.task()]), {
      services: testServices({ clock: new TestClock(), random: seededRandom(1) }),
      log: silentLog,
      credentials: (path) => path,
      retry: DEFAULT_RETRY,
    });
    const old = Promise.withResolvers<void>();
    run.start(old.promise);
    assert.equal(source.output !== undefined, request);
    old.resolve();
    await settle();
    assert.ok(source.output);
    await run.stop(0);
  }
});

Deno.test("nobody can ask for more than an hour by Retry-After", async () => {
  const source = new HandSource();
  const clock = new TestClock(0);
  const at: number[] = [];
  const { run } = await startFlow([
    source.task(),
    waits("flaky", (_, call) => {
      at.push(clock.now());
      if (call.attempt > 1) return null;
      throw new FlowError("http.status_retry", "busy", { retryAfter: 10 * 86_400_000 });
    }),
  ], { clock });
  void source.output.deliver(testEvent(1));
  await clock.advance(3_600_000);
  assert.deepEqual(at, [0, 3_600_000]);
  await run.stop(0);
});

Deno.test("an event that its source fails goes to the error branch", async () => {
  const source = new HandSource({ fails: true });
  const seen: unknown[] = [];
  const { run } = await startFlow([
    source.task("in"),
    sync("never", () => void seen.push("never")),
    sync("handler", ({ data, error }) => void seen.push([data, error?.task, error?.code]), {
      when: "error",
    }),
  ]);
  const ends: boolean[] = [];
  await source.output.fail(testEvent("x"), unreadable(), ({ ok }) => void ends.push(ok));
  assert.deepEqual([seen, ends], [[["x", "in", "event.not_json"]], [true]]);
  await run.stop(0);
});

Deno.test("an event that its source fails has failed where there is no error branch", async () => {
  const source = new HandSource({ fails: true });
  let seen = 0;
  const { run } = await startFlow([source.task("in"), sync("never", () => void seen++)]);
  const cause = unreadable();
  const ends: unknown[] = [];
  await source.output.fail(testEvent("x"), cause, (outcome) => {
    ends.push(outcome.ok ? null : (outcome.cause as FlowError).code);
  });
  assert.deepEqual([seen, ends], [0, ["event.not_json"]]);
  await run.stop(0);
});

function unreadable(): FlowError {
  return new FlowError("event.not_json", "Cannot read it");
}

Deno.test("a source that fails no events takes no error branch", () => {
  const flow = flowOf([
    new HandSource().task("in"),
    sync("handler", () => {}, { when: "error", dependsOn: ["in"] }),
  ]);
  assert.throws(() => buildGraph(flow), /a source fails no events/);
});

Deno.test("a source says that it is in trouble while it goes on, and when it is well", async () => {
  const source = new HandSource();
  const { run, clock } = await startFlow([source.task("in"), sync("end", () => {})]);
  source.output.trouble(new FlowError("nats.unavailable", "Cannot receive"));
  assert.equal(run.health().state, "degraded");
  assert.equal(run.health().error?.message, "Cannot receive");
  await clock.advance(60_000);
  assert.equal(run.health().state, "degraded");
  source.output.trouble(null);
  assert.equal(run.health().state, "running");
  await run.stop(0);
});

Deno.test("a source knows its window", async () => {
  const source = new HandSource({ window: 3 });
  const { run } = await startFlow([
    source.task("in", { maxInFlightBytes: 100 }),
    sync("end", () => {}),
  ]);
  assert.deepEqual([source.output.window, source.output.windowBytes], [3, 100]);
  await run.stop(0);
});
