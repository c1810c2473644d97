import assert from "node:assert/strict";
import { settle, TestClock } from "../core/clock.ts";
import { FlowError } from "../core/errors.ts";
import { type Log, silentLog } from "../core/log.ts";
import { soloCluster } from "../flow/cluster.ts";
import type { TaskEntry } from "../flow/flow.ts";
import type { Store } from "../flow/store.ts";
import type { AsyncRun, TaskContext } from "../flow/task.ts";
import { testServices } from "../flow/testing.ts";
import { MemoryStore } from "../store/memory.ts";
import { FlowRun } from "./flow_run.ts";
import { DEFAULT_RETRY } from "./retry.ts";
import { entry, flowOf, HandSource } from "./testing.ts";

type Create = (context: TaskContext<unknown>) => AsyncRun | Promise<AsyncRun>;

const base = { summary: "", config: {} as never, examples: [] };
const task = (name: string, create: Create) =>
  entry(name, { ...base, type: "waits", mode: "async", create });
const idle: AsyncRun = () => null;

function prepared(tasks: readonly TaskEntry[], log: Log = silentLog, signal?: AbortSignal) {
  return FlowRun.prepare(flowOf([new HandSource().task(), ...tasks]), {
    services: testServices({ clock: new TestClock() }),
    log,
    credentials: (path) => path,
    retry: DEFAULT_RETRY,
  }, signal);
}

/** A flow whose second task hangs while it is made. */
function hanging() {
  const closed: string[] = [];
  const { promise, resolve } = Promise.withResolvers<AsyncRun>();
  const made: string[] = [];
  const tasks = [
    task("first", ({ defer }) => {
      defer(() => void closed.push("first"));
      return idle;
    }),
    task("second", async ({ defer }) => {
      const run = await promise;
      defer(() => void closed.push("second"));
      return run;
    }),
    task("third", () => {
      made.push("third");
      return idle;
    }),
  ];
  return { tasks, closed, made, end: () => resolve(idle) };
}

Deno.test("a task that is not ready in time gives way, and all is closed once it ended", async () => {
  const { tasks, closed, made, end } = hanging();
  const abort = new AbortController();
  const result = prepared(tasks, silentLog, abort.signal);
  await settle();
  abort.abort(new DOMException("too long", "TimeoutError"));
  await assert.rejects(result, {
    code: "task.prepare_timeout",
    message: 'Task "second" was not ready in time',
    position: { file: "test.yaml", line: 1, column: 1 },
  });
  end();
  await settle();
  assert.deepEqual(closed, ["first", "second"]);
  assert.deepEqual(made, []);
});

Deno.test("a preparation that nobody wants any more ends with the reason given", async () => {
  const abort = new AbortController();
  const { tasks, closed } = hanging();
  const result = prepared(tasks, silentLog, abort.signal);
  await settle();
  abort.abort(new FlowError("delivery.stopped", "not wanted"));
  await assert.rejects(result, { code: "delivery.stopped", message: "not wanted" });
  await settle();
  assert.deepEqual(closed, ["first"]);
  await assert.rejects(prepared(tasks, silentLog, abort.signal), { code: "delivery.stopped" });
});

Deno.test("tasks are closed when their flow cannot be put together", async () => {
  let closed = 0;
  const tasks = [task("first", ({ defer }) => {
    defer(() => void closed++);
    return idle;
  })];
  const log: Log = {
    ...silentLog,
    with: (fields) => {
      if (!("task" in fields)) throw new Error("no log");
      return log;
    },
  };
  await assert.rejects(prepared(tasks, log), { message: "no log" });
  assert.equal(closed, 1);
});

Deno.test("flows from outside get the runtime's server without its login", async () => {
  const seen: unknown[] = [];
  const tasks = [
    new HandSource().task(),
    task("looks", ({ services }) => {
      seen.push(services.nats);
      return idle;
    }),
  ];
  const nats = { url: "nats://me:secret@a:4222", credentials_path: "/run/nats.creds" };
  const resources = { read: () => Promise.reject(new Error("none")) };
  const options = {
    services: testServices({ clock: new TestClock(), nats }),
    log: silentLog,
    credentials: (path: string) => path,
    retry: DEFAULT_RETRY,
  };
  for (const outside of [undefined, { resources }]) {
    const run = await FlowRun.prepare({ ...flowOf(tasks), outside }, options);
    await run.discard();
  }
  assert.deepEqual(seen, [nats, { url: "nats://a:4222" }]);
});

Deno.test("alone, a clock that was set back does not keep an elected flow from its own state", async () => {
  const runtimeStore = new MemoryStore({ clock: new TestClock() });
  for (const now of [2_000, 1_000]) {
    let store: Store | undefined;
    const tasks = [
      new HandSource().task(),
      task("keeps", ({ services }) => {
        store = services.runtimeStore;
        return idle;
      }),
    ];
    const cluster = soloCluster({ nodeId: `${now}`, now: () => now });
    const clock = new TestClock();
    const run = await FlowRun.prepare({ ...flowOf(tasks), requireLeaderElection: true }, {
      services: testServices({ clock, runtimeStore, cluster }),
      log: silentLog,
      credentials: (path) => path,
      retry: DEFAULT_RETRY,
    });
    const nothing = () => Promise.resolve();
    cluster.stand("test/flow", {
      start: (term) => run.start(undefined, term),
      drain: nothing,
      lose: nothing,
    });
    await store!.put(["flow", "test/flow", "x"], new Uint8Array(1));
    const stopped = run.stop(0);
    await clock.advance(0);
    await stopped;
  }
});
