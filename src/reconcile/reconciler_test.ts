import assert from "node:assert/strict";
import { settle, TestClock } from "../core/clock.ts";
import { FlowError, FlowErrors } from "../core/errors.ts";
import { silentLog } from "../core/log.ts";
import { seededRandom } from "../core/random.ts";
import { DEFAULT_RETRY } from "../engine/retry.ts";
import { entry, flowOf, HandSource, sync, waits } from "../engine/testing.ts";
import type { Flow, TaskEntry } from "../flow/flow.ts";
import type { Outcome } from "../flow/task.ts";
import { testEvent, testServices } from "../flow/testing.ts";
import type { Wanted } from "./desired.ts";
import { Reconciler } from "./reconciler.ts";

function setUp() {
  const clock = new TestClock();
  const reconciler = new Reconciler({
    services: testServices({ clock, random: seededRandom(1) }),
    log: silentLog,
    retry: DEFAULT_RETRY,
    credentials: (path) => path,
  });
  const states = () =>
    Object.fromEntries(reconciler.status().map((one) => [one.identity, one.state]));
  return { clock, reconciler, states };
}

function wanted(identity: string, digest: string, tasks: readonly TaskEntry[], more = {}): Wanted {
  const flow: Flow = { ...flowOf(tasks), identity, digest, ...more };
  return { identity, source: "files", file: `${identity}.yaml`, flow };
}

function broken(identity: string, message = "broken"): Wanted {
  const position = { file: `${identity}.yaml`, line: 3, column: 7 };
  const flow = new FlowErrors([new FlowError("config.unknown_key", message, { position })]);
  return { identity, source: "files", file: `${identity}.yaml`, flow };
}

const end = () => sync("end", (event, emit) => emit(event));

function claiming(source: HandSource, claim: string): TaskEntry {
  const task = source.task();
  return { ...task, definition: { ...task.definition, claims: () => [claim] } as never };
}

Deno.test("only what changed is replaced", async () => {
  const { reconciler } = setUp();
  const [a, b1, b2] = [new HandSource(), new HandSource(), new HandSource()];
  const keep = wanted("a", "1", [a.task(), end()]);
  await reconciler.apply([keep, wanted("b", "1", [b1.task(), end()])]);
  await reconciler.apply([keep, wanted("b", "2", [b2.task(), end()])]);
  assert.equal(a.output.signal.aborted, false);
  assert.equal(b1.output.signal.aborted, true);
  assert.equal(b2.output.signal.aborted, false);
  assert.deepEqual(reconciler.status().map((one) => [one.identity, one.running]), [
    ["a", "1"],
    ["b", "2"],
  ]);
  await reconciler.stop(0);
});

Deno.test("a flow that is no longer wanted drains and is forgotten", async () => {
  const { reconciler, states } = setUp();
  const source = new HandSource();
  const task = Promise.withResolvers<null>();
  await reconciler.apply([wanted("a", "1", [source.task(), waits("slow", () => task.promise)])]);
  const outcome = source.output.deliver(testEvent(1));
  await reconciler.apply([]);
  assert.deepEqual(states(), {});
  task.resolve(null);
  assert.deepEqual(await outcome, { ok: true });
  await reconciler.stop(0);
});

Deno.test("a file that goes bad leaves its last good version running and says so", async () => {
  const { reconciler } = setUp();
  const source = new HandSource();
  const good = wanted("a", "1", [source.task(), end()]);
  await reconciler.apply([good]);
  await reconciler.apply([broken("a", "no good")]);
  const [status] = reconciler.status();
  assert.equal(status!.state, "invalid");
  assert.equal(status!.running, "1");
  assert.equal(status!.desired, null);
  assert.deepEqual(status!.error, {
    code: "config.unknown_key",
    message: "no good",
    position: { file: "a.yaml", line: 3, column: 7 },
  });
  assert.ok((await source.output.deliver(testEvent(1))).ok);
  await reconciler.apply([good]);
  assert.equal(reconciler.status()[0]!.state, "running");
  assert.equal(reconciler.status()[0]!.error, undefined);
  await reconciler.stop(0);
});

Deno.test("a version that cannot be prepared leaves the old one running", async () => {
  const { reconciler } = setUp();
  const source = new HandSource();
  await reconciler.apply([wanted("a", "1", [source.task(), end()])]);
  const refuses = entry("no", {
    type: "no",
    summary: "",
    config: {} as never,
    examples: [],
    mode: "sync",
    create() {
      throw new FlowError("resource.missing", "no such file");
    },
  });
  await reconciler.apply([wanted("a", "2", [new HandSource().task(), refuses])]);
  const [status] = reconciler.status();
  assert.deepEqual([status!.state, status!.desired, status!.running], ["invalid", "2", "1"]);
  assert.equal(source.output.signal.aborted, false);
  await reconciler.stop(0);
});

Deno.test("what fails to prepare for a passing reason is prepared again by itself", async () => {
  const { reconciler, clock, states } = setUp();
  let tries = 0;
  const shy = entry("shy", {
    type: "shy",
    summary: "",
    config: {} as never,
    examples: [],
    mode: "sync",
    create() {
      if (++tries < 3) throw new FlowError("http.unavailable", "not yet");
      return (event, emit) => emit(event);
    },
  });
  await reconciler.apply([wanted("a", "1", [new HandSource().task(), shy])]);
  assert.deepEqual(states(), { a: "degraded" });
  await clock.advance(60_000);
  assert.equal(tries, 3);
  assert.deepEqual(states(), { a: "running" });
  await reconciler.stop(0);
});

Deno.test("of two flows with one route the later by identity is invalid", async () => {
  const { reconciler, states } = setUp();
  const [a, b] = [new HandSource(), new HandSource()];
  const flows = [
    wanted("a", "1", [claiming(a, "http GET /x"), end()]),
    wanted("b", "1", [claiming(b, "http GET /x"), end()]),
  ];
  await reconciler.apply(flows);
  assert.deepEqual(states(), { a: "running", b: "invalid" });
  assert.equal(
    reconciler.status()[1]!.error!.message,
    'Cannot claim "http GET /x": flow "a" already holds it',
  );
  await reconciler.apply(flows.slice(1));
  assert.deepEqual(states(), { b: "running" }, "the route is free now");
  await reconciler.stop(0);
});

Deno.test("a rename does not collide with itself", async () => {
  const { reconciler, states } = setUp();
  const [a, b] = [new HandSource(), new HandSource()];
  await reconciler.apply([wanted("old", "1", [claiming(a, "http GET /x"), end()])]);
  await reconciler.apply([wanted("new", "1", [claiming(b, "http GET /x"), end()])]);
  assert.deepEqual(states(), { new: "running" });
  await reconciler.stop(0);
});

Deno.test("a flow edited onto another's route runs on in its last good version", async () => {
  const { reconciler } = setUp();
  const [a, b] = [new HandSource(), new HandSource()];
  const first = wanted("a", "1", [claiming(a, "http GET /a"), end()]);
  await reconciler.apply([first, wanted("b", "1", [claiming(b, "http GET /b"), end()])]);
  const clash = claiming(new HandSource(), "http GET /a");
  await reconciler.apply([first, wanted("b", "2", [clash, end()])]);
  const status = reconciler.status()[1]!;
  assert.deepEqual([status.state, status.running, status.desired], ["invalid", "1", "2"]);
  assert.equal(b.output.signal.aborted, false);
  await reconciler.stop(0);
});

Deno.test("a source with window 1 opens only after the old generation's last delivery", async () => {
  const { reconciler } = setUp();
  const [old, young] = [new HandSource({ window: 1 }), new HandSource({ window: 1 })];
  const work = Promise.withResolvers<null>();
  await reconciler.apply([wanted("a", "1", [old.task(), waits("slow", () => work.promise)])]);
  const outcome = old.output.deliver(testEvent(1));
  await reconciler.apply([wanted("a", "2", [young.task(), end()])]);
  await settle();
  assert.equal(young.output, undefined);
  work.resolve(null);
  await outcome;
  await settle();
  assert.ok(young.output);
  await reconciler.stop(0);
});

Deno.test("a replaced version has half a minute for what is under way, then the next goes on without", async () => {
  const { reconciler, clock } = setUp();
  const [old, young] = [new HandSource({ window: 1 }), new HandSource({ window: 1 })];
  const work = Promise.withResolvers<null>();
  await reconciler.apply([wanted("a", "1", [old.task(), waits("slow", () => work.promise)])]);
  let ended: Outcome | undefined;
  void old.output.deliver(testEvent(1)).then((outcome) => ended = outcome);
  await reconciler.apply([wanted("a", "2", [young.task(), end()])]);
  await clock.advance(29_999);
  assert.deepEqual([ended, young.output], [undefined, undefined]);
  await clock.advance(1);
  await settle();
  assert.equal(ended?.ok, false);
  assert.ok(young.output);
  work.resolve(null);
  await reconciler.stop(0);
});

Deno.test("a disabled flow is stopped and shown as disabled", async () => {
  const { reconciler, states } = setUp();
  const source = new HandSource();
  await reconciler.apply([wanted("a", "1", [source.task(), end()])]);
  await reconciler.apply([wanted("a", "2", [source.task(), end()], { enabled: false })]);
  assert.deepEqual(states(), { a: "disabled" });
  assert.equal(source.output.signal.aborted, true);
  await reconciler.stop(0);
});

Deno.test("a broken graph is reported and nothing of the flow starts", async () => {
  const { reconciler, states } = setUp();
  await reconciler.apply([wanted("a", "1", [end()])]);
  assert.deepEqual(states(), { a: "invalid" });
  assert.equal(reconciler.status()[0]!.error!.code, "flow.no_source");
  await reconciler.stop(0);
});

/** A task whose `create` waits for the test. */
function slowToPrepare() {
  const gate = Promise.withResolvers<void>();
  const task = entry("slow", {
    type: "slow",
    summary: "",
    config: {} as never,
    examples: [],
    mode: "sync",
    async create() {
      await gate.promise;
      return (event, emit) => emit(event);
    },
  });
  return { task, ready: () => gate.resolve() };
}

Deno.test("a flow that is slow to prepare delays no other, and follows when it is ready", async () => {
  const { reconciler, clock, states } = setUp();
  const slow = slowToPrepare();
  const applied = reconciler.apply([
    wanted("a", "1", [new HandSource().task(), end()]),
    wanted("b", "1", [new HandSource().task(), slow.task]),
  ]);
  await clock.advance(2_000);
  await applied;
  assert.deepEqual(states(), { a: "running", b: "degraded" });
  slow.ready();
  await settle(10);
  assert.deepEqual(states(), { a: "running", b: "running" });
  await reconciler.stop(0);
});

Deno.test("a preparation that never ends is given up and tried again", async () => {
  const { reconciler, clock } = setUp();
  const applied = reconciler.apply([
    wanted("a", "1", [new HandSource().task(), slowToPrepare().task]),
  ]);
  await clock.advance(2_000);
  await applied;
  await clock.advance(58_000);
  assert.equal(reconciler.status()[0]!.error!.code, "task.prepare_timeout");
  assert.equal(reconciler.status()[0]!.state, "degraded");
  await reconciler.stop(0);
});

Deno.test("stop does not wait for a preparation that never ends", async () => {
  const { reconciler } = setUp();
  void reconciler.apply([wanted("a", "1", [new HandSource().task(), slowToPrepare().task])]);
  await settle();
  assert.equal(await reconciler.stop(0), true);
});

Deno.test("whenever stop comes, nothing goes on being prepared", async () => {
  for (let turns = 0; turns < 20; turns++) {
    const { clock, reconciler } = setUp();
    const slow = (digest: string) =>
      wanted("a", digest, [new HandSource().task(), slowToPrepare().task]);
    const applied = reconciler.apply([slow("1")]);
    await clock.advance(2_000);
    await applied;
    void reconciler.apply([slow("2")]);
    for (let i = 0; i < turns; i++) await null;
    let stopped = false;
    void reconciler.stop(0).then(() => stopped = true);
    await settle();
    assert.deepEqual([turns, stopped, clock.pending], [turns, true, 0]);
  }
});

Deno.test("stop holds its deadline for flows that are draining already", async () => {
  const { reconciler, clock } = setUp();
  const source = new HandSource();
  const work = Promise.withResolvers<null>();
  await reconciler.apply([wanted("a", "1", [source.task(), waits("slow", () => work.promise)])]);
  void source.output.deliver(testEvent(1));
  await reconciler.apply([]);
  const stopped = reconciler.stop(500);
  await clock.advance(500);
  assert.equal(await stopped, false);
  work.resolve(null);
  await settle();
});

Deno.test("a definition whose claims throw spoils its own flow only", async () => {
  const { reconciler, states } = setUp();
  const source = new HandSource().task();
  const definition = {
    ...source.definition,
    claims() {
      throw new Error("claims are broken");
    },
  };
  await reconciler.apply([
    wanted("a", "1", [{ ...source, definition: definition as never }, end()]),
    wanted("b", "1", [new HandSource().task(), end()]),
  ]);
  assert.deepEqual(states(), { a: "invalid", b: "running" });
  await reconciler.stop(0);
});
