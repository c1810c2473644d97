import assert from "node:assert/strict";
import { settle } from "../core/clock.ts";
import { FlowError } from "../core/errors.ts";
import type { FlowEvent } from "../flow/event.ts";
import { type AsyncRun, Many, type Output, type Reply } from "../flow/task.ts";
import { testEvent } from "../flow/testing.ts";
import { HandSource, startFlow, sync, waits } from "./testing.ts";

const transient = () => new FlowError("http.unavailable", "down");
const pass = (name: string) => sync(name, (event, emit) => emit(event));
const RETRY = { max_attempts: null, initial_backoff: 60_000, max_backoff: 60_000 };

/** Makes `a0`, `a1` … of `a`, counting how many were asked for. */
function expands(count: number) {
  const pulled = { count: 0 };
  function* items(event: FlowEvent) {
    for (let n = 0; n < count; n++) {
      pulled.count++;
      yield { ...event, data: `${event.data}${n}` };
    }
  }
  return { pulled, task: sync("many", (event, _, call) => call.expand(items(event))) };
}

const list = (name: string, count: number): Reply => ({
  kind: "list",
  items: Array.from({ length: count }, (_, n) => `${name}${n}`),
});

/** Answers at once or after a microtask, but fails what `fails` names at its first attempt. */
function flaky(fails: (text: string) => boolean): AsyncRun {
  return async (event, call) => {
    await Promise.resolve();
    if (call.attempt === 1 && fails(event.data as string)) throw transient();
    return event;
  };
}

Deno.test("a request passes another one of which much waits behind a retry", async () => {
  const source = new HandSource({ request: true });
  const { pulled, task } = expands(1_000);
  const { run, clock } = await startFlow([
    source.task("in", { ackTimeout: 1_000_000 }),
    task,
    waits("flaky", flaky((text) => text === "a0"), { concurrency: 2, retry: RETRY }),
    pass("end"),
  ]);
  const first = source.output.request(testEvent("a"));
  await settle(20);
  assert.ok(pulled.count < 20, `${pulled.count} wait behind one`);
  const second = source.output.request(testEvent("b"));
  await settle(1_000);
  assert.deepEqual(await second, list("b", 1_000));
  await clock.advance(100_000);
  assert.deepEqual(await first, list("a", 1_000));
  await run.stop(0);
  assert.equal(clock.pending, 0);
});

Deno.test("a request passes another one that waits for its slow first event", async () => {
  const source = new HandSource({ request: true });
  const { task } = expands(21);
  let resolve!: (output: Output) => void;
  const { run } = await startFlow([
    source.task(),
    task,
    waits("slow", (event) => {
      if (event.data !== "a0") return Promise.resolve(event);
      return new Promise((answer) => resolve = () => answer(event));
    }, { concurrency: 2 }),
    pass("end"),
  ]);
  const first = source.output.request(testEvent("a"));
  await settle(20);
  const second = source.output.request(testEvent("b"));
  await settle(20);
  assert.deepEqual(await second, list("b", 21));
  resolve(null);
  assert.deepEqual(await first, list("a", 21));
  await run.stop(0);
});

Deno.test("a request passes another one of which all events are tried again by the last task", async () => {
  const source = new HandSource({ request: true });
  const { task } = expands(1_000);
  let failures = 0;
  const { run, clock } = await startFlow([
    source.task("in", { reply: "none" }),
    task,
    waits("flaky", async (event) => {
      await Promise.resolve();
      if (!(event.data as string).startsWith("a")) return null;
      failures++;
      throw transient();
    }, { concurrency: 2, retry: RETRY }),
  ]);
  void source.output.request(testEvent("a"));
  await settle(20);
  assert.ok(failures < 10, `${failures} are in retry`);
  const second = source.output.request(testEvent("b"));
  await settle(1_000);
  assert.deepEqual(await second, { kind: "none" });
  const stopped = run.stop(0);
  await clock.advance(0);
  assert.equal(await stopped, false);
});

Deno.test("deliveries of an ordered source pass one of which much waits behind a retry", async () => {
  const source = new HandSource({ ordered: true });
  const end: unknown[] = [];
  const settlers = new Map<string, { resolve(): void; reject(cause: unknown): void }>();
  const { run, clock } = await startFlow([
    source.task(),
    sync("many", (event, emit) => {
      if (event.data !== "a") return emit(event);
      for (let n = 0; n < 20; n++) emit({ ...event, data: `a${n}` });
    }),
    waits("slow", (event, call) => {
      if (call.attempt > 1 || !["x", "a1"].includes(event.data as string)) return event;
      return new Promise((resolve, reject) =>
        settlers.set(event.data as string, { resolve: () => resolve(event), reject })
      );
    }, { concurrency: 3, retry: RETRY }),
    sync("end", (event) => void end.push(event.data)),
  ]);
  const taken = ["x", "a", "b", "c"].map((data) => source.output.emit(testEvent(data), () => {}));
  await settle();
  assert.deepEqual(end, []);
  settlers.get("a1")!.reject(transient());
  await settle();
  assert.deepEqual(end, [], "what came before the one in retry is not done");
  settlers.get("x")!.resolve();
  await settle();
  assert.deepEqual(end, ["x", "a0", "b", "c"]);
  await clock.advance(100_000);
  assert.deepEqual(end.slice(4), Array.from({ length: 19 }, (_, n) => `a${n + 1}`));
  await Promise.all(taken);
  assert.equal(run.health().open, 0);
  await run.stop(0);
});

Deno.test("an earlier event of a delivery that fails later keeps its place", async () => {
  const source = new HandSource({ ordered: true });
  const end: unknown[] = [];
  const rejects: ((cause: unknown) => void)[] = [];
  const { run, clock } = await startFlow([
    source.task(),
    sync("many", (event, _, call) => call.expand([0, 1, 2, 3].map((n) => ({ ...event, data: n })))),
    waits("slow", (event, call) => {
      if (call.attempt > 1 || event.data === 1) return Promise.resolve(event);
      return new Promise((_, reject) => rejects[event.data as number] = reject);
    }, { retry: RETRY }),
    sync("end", (event) => void end.push(event.data)),
  ]);
  source.output.emit(testEvent("all"), () => {});
  for (const n of [2, 0, 3]) {
    rejects[n]!(transient());
    await settle();
  }
  await clock.advance(100_000);
  assert.deepEqual(end, [0, 1, 2, 3]);
  assert.equal(run.health().open, 0);
  await run.stop(0);
});

Deno.test("a task that gives anything but an event fails its event", async () => {
  const given = [[undefined, "undefined"], ["text", "a string"], [{}, "an object"]] as const;
  for (const [output, name] of given) {
    for (const answer of [output, Promise.resolve(output), new Many([output] as never)]) {
      const source = new HandSource({ request: true });
      const { run } = await startFlow([source.task(), waits("x", () => answer as Output)]);
      const reply = await source.output.request(testEvent(1));
      assert.ok(reply.kind === "failed" && reply.cause instanceof FlowError);
      const { code, message, hint } = reply.cause;
      assert.deepEqual({ code, message, hint }, {
        code: "task.output_invalid",
        message: `Task "x" gave ${name} in place of an event`,
        hint: "return null to drop the event",
      });
      assert.equal(run.health().open, 0);
      await run.stop(0);
    }
  }
});

Deno.test("a request of which nothing can be told is answered as failed", async () => {
  const source = new HandSource({ request: true });
  const { run } = await startFlow([
    source.task(),
    sync("bad", (_, emit) => emit(undefined as never)),
  ]);
  const reply = await source.output.request(testEvent(1));
  assert.equal(reply.kind, "failed");
  await run.stop(0);
});

Deno.test("a stream that fails before its first event is tried again in its place", async () => {
  const source = new HandSource({ request: true });
  const attempts: string[] = [];
  const { run, clock } = await startFlow([
    source.task("in", { ackTimeout: 1_000_000 }),
    expands(2).task,
    waits("read", (event, call) => {
      attempts.push(`${event.data} ${call.attempt}`);
      return new Many((async function* () {
        await Promise.resolve();
        if (call.attempt === 1 && event.data === "a0") throw transient();
        yield { ...event, data: `${event.data}-1` };
        yield { ...event, data: `${event.data}-2` };
      })());
    }, { retry: RETRY }),
    pass("end"),
  ]);
  const reply = source.output.request(testEvent("a"));
  await clock.advance(100_000);
  assert.deepEqual(await reply, { kind: "list", items: ["a0-1", "a0-2", "a1-1", "a1-2"] });
  assert.deepEqual(attempts, ["a0 1", "a1 1", "a0 2"]);
  assert.equal(run.health().open, 0);
  await run.stop(0);
  assert.equal(clock.pending, 0);
});
