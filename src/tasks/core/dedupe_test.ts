import assert from "node:assert/strict";
import { settle, TestClock } from "../../core/clock.ts";
import { FlowError } from "../../core/errors.ts";
import type { Log } from "../../core/log.ts";
import type { Store } from "../../flow/store.ts";
import { DONE, type Outcome, Tracked } from "../../flow/task.ts";
import { testCall, testContext, testEvent } from "../../flow/testing.ts";
import { MemoryStore } from "../../store/memory.ts";
import { dedupe } from "./dedupe.ts";
import { clusterOf, guardedStore, keepingLog } from "./testing.ts";

const FAILED: Outcome = { ok: false, cause: new Error("no") };
const away = new FlowError("store.unavailable", "away");

interface Given {
  clock?: TestClock;
  store?: Store;
  nodeId?: string;
  log?: Log;
  /** Whether the nodes of other claims are alive. */
  othersLive?: boolean;
  /** Of an elected flow. */
  epoch?: number;
}

async function start(given: Given = {}) {
  const clock = given.clock ?? new TestClock();
  const store = given.store ?? new MemoryStore({ clock });
  const context = {
    ...testContext(dedupe, { key: "{{event.data.id}}", ttl: "10m" }, {
      clock,
      services: {
        runtimeStore: store,
        cluster: clusterOf(clock, given.nodeId ?? "node-a", {
          ...(given.othersLive && { isGone: () => Promise.resolve(false) }),
        }),
      },
    }),
    epoch: () => given.epoch ?? 0,
    ...(given.log && { log: given.log }),
  };
  const run = await dedupe.create(context);
  /** What became of the events that have an answer, in order of their answers. */
  const answers: string[] = [];
  function send(name: string, id: string | number, signal = new AbortController().signal) {
    const answer = {
      passed: null as Tracked | null,
      error: null as unknown,
      answered: Promise.resolve(),
    };
    answer.answered = Promise.resolve(run(testEvent({ id }), testCall(() => {}, { signal }))).then(
      (output) => {
        answer.passed = output instanceof Tracked ? output : null;
        answers.push(`${name} ${output === null ? "dropped" : "passed"}`);
      },
      (cause) => {
        answer.error = cause;
        answers.push(`${name} failed`);
      },
    );
    return answer;
  }
  async function close() {
    for (const close of context.closers) await close();
  }
  return { clock, store, send, answers, close };
}

Deno.test("a second event of a key waits for the first, and is dropped when that is done", async () => {
  const { send, answers } = await start();
  const first = send("a", 1);
  send("b", 1);
  send("other", 2);
  await settle();
  assert.deepEqual(answers, ["a passed", "other passed"]);
  first.passed!.settled(DONE);
  await settle();
  assert.deepEqual(answers.slice(2), ["b dropped"]);
});

Deno.test("the next event of a key takes over when the first fails, in the order they came", async () => {
  const { send, answers } = await start();
  const first = send("a", 1);
  const second = send("b", 1);
  send("c", 1);
  await settle();
  first.passed!.settled(FAILED);
  await settle();
  assert.deepEqual(answers, ["a passed", "b passed"]);
  second.passed!.settled(DONE);
  await settle();
  assert.deepEqual(answers[2], "c dropped");
});

Deno.test("a key is remembered for its ttl from the end of its event", async () => {
  const { clock, send, answers } = await start();
  const first = send("a", 1);
  await clock.advance(5 * 60_000);
  first.passed!.settled(DONE);
  await clock.advance(10 * 60_000 - 1);
  send("b", 1);
  await clock.advance(1);
  send("c", 1);
  await settle();
  assert.deepEqual(answers, ["a passed", "b dropped", "c passed"]);
});

Deno.test("an event that takes longer than the ttl still holds back the next of its key", async () => {
  const { clock, send, answers } = await start();
  const first = send("a", 1);
  await clock.advance(20 * 60_000);
  send("b", 1);
  await settle();
  first.passed!.settled(DONE);
  await settle();
  assert.deepEqual(answers, ["a passed", "b dropped"]);
});

Deno.test("keys that are done are remembered across restarts", async () => {
  const first = await start();
  const a = first.send("a", 1);
  await settle();
  a.passed!.settled(DONE);
  await first.close();
  const second = await start({ ...first, nodeId: "node-b" });
  second.send("b", 1);
  await settle();
  assert.deepEqual(second.answers, ["b dropped"]);
});

Deno.test("a claim that a process left behind is taken over at the next start", async () => {
  const first = await start();
  first.send("a", 1);
  await settle();
  // Another process knows the record only.
  const store = guardedStore(first.store, () => {});
  const second = await start({ clock: first.clock, store, nodeId: "node-b" });
  const b = second.send("b", 1);
  await settle();
  assert.deepEqual(second.answers, ["b passed"]);
  b.passed!.settled(DONE);
  await settle();
  second.send("c", 1);
  await settle();
  assert.deepEqual(second.answers[1], "c dropped");
});

Deno.test("the owner of an elected flow takes over what a node that lives left behind", async () => {
  for (const [epoch, expected] of [[0, []], [8, ["again passed"]]] as const) {
    const { clock, store, send } = await start();
    send("a", 1);
    await settle();
    const given = { clock, store, nodeId: "node-b", othersLive: true, epoch };
    const b = await start(given);
    b.send("again", 1);
    await clock.advance(30_000);
    assert.deepEqual(b.answers, expected);
  }
});

Deno.test("a failure does not undo what whoever took the key over has done", async () => {
  const first = await start();
  const a = first.send("a", 1);
  await settle();
  const store = guardedStore(first.store, () => {});
  const second = await start({ clock: first.clock, store, nodeId: "node-b" });
  const b = second.send("b", 1);
  await settle();
  b.passed!.settled(DONE);
  await settle();
  a.passed!.settled(FAILED);
  await settle();
  second.send("c", 1);
  await settle();
  assert.deepEqual(second.answers, ["b passed", "c dropped"]);
});

Deno.test("a new generation waits for events of the old one", async () => {
  const old = await start();
  const a = old.send("a", 1);
  await settle();
  const next = await start(old);
  next.send("b", 1);
  await settle();
  assert.deepEqual(next.answers, []);
  a.passed!.settled(DONE);
  await settle();
  assert.deepEqual(next.answers, ["b dropped"]);
});

Deno.test("an event that expires while it waits throws, and the others go on waiting", async () => {
  const { send, answers } = await start();
  const first = send("a", 1);
  const expired = new AbortController();
  const waiting = send("b", 1, expired.signal);
  send("c", 1);
  await settle();
  expired.abort(new Error("expired"));
  await settle();
  assert.equal((waiting.error as Error).message, "expired");
  first.passed!.settled(FAILED);
  await settle();
  assert.deepEqual(answers, ["a passed", "b failed", "c passed"]);
});

Deno.test("an event that expires while it takes its key gives the key back", async () => {
  const clock = new TestClock();
  const expired = new AbortController();
  let expire = false;
  const store = guardedStore(new MemoryStore({ clock }), (method) => {
    if (expire && method === "create") expired.abort(new Error("expired"));
  });
  const { send, answers } = await start({ clock, store });
  expire = true;
  send("a", 1, expired.signal);
  await settle();
  assert.deepEqual(await Array.fromAsync(store.list([])), []);
  expire = false;
  send("b", 1);
  await settle();
  assert.deepEqual(answers, ["a failed", "b passed"]);
});

Deno.test("dedupe passes nothing while the store is away, and holds no key meanwhile", async () => {
  const clock = new TestClock();
  let broken = true;
  const store = guardedStore(new MemoryStore({ clock }), () => {
    if (broken) throw away;
  });
  const { send, answers } = await start({ clock, store });
  const first = send("a", 1);
  await settle();
  assert.equal(first.error, away);
  broken = false;
  send("b", 1);
  await settle();
  assert.deepEqual(answers, ["a failed", "b passed"]);
});

Deno.test("how an event ended is written when the store comes back", async () => {
  const clock = new TestClock();
  let broken = false;
  const store = guardedStore(new MemoryStore({ clock }), () => {
    if (broken) throw away;
  });
  const { send, answers } = await start({ clock, store });
  const first = send("a", 1);
  await settle();
  broken = true;
  first.passed!.settled(DONE);
  await clock.advance(1_500);
  send("b", 1);
  broken = false;
  await clock.advance(2_000);
  assert.deepEqual(answers, ["a passed", "b dropped"]);
  const again = await start({ clock, store, nodeId: "node-b" });
  again.send("c", 1);
  await settle();
  assert.deepEqual(again.answers, ["c dropped"]);
});

Deno.test("waiters hear that the first is done even if the store never does", async () => {
  const clock = new TestClock();
  const log = keepingLog();
  let broken = false;
  const store = guardedStore(new MemoryStore({ clock }), () => {
    if (broken) throw away;
  });
  const { send, answers } = await start({ clock, store, log });
  const first = send("a", 1);
  send("b", 1);
  await settle();
  broken = true;
  first.passed!.settled(DONE);
  await clock.advance(10 * 60_000);
  assert.deepEqual(answers, ["a passed", "b dropped"]);
  assert.deepEqual(log.lines.map(([level, , { code }]) => [level, code]), [
    ["warning", "store.unavailable"],
  ]);
});

Deno.test("the end of a generation waits for its last writes, without further pauses", async () => {
  const clock = new TestClock();
  let broken = false;
  const store = guardedStore(new MemoryStore({ clock }), () => {
    if (broken) throw away;
  });
  const { send, close } = await start({ clock, store });
  const first = send("a", 1);
  await settle();
  broken = true;
  first.passed!.settled(DONE);
  await settle();
  await close();
  assert.equal(clock.pending, 0);
});

Deno.test("keys may be of any length and content", async () => {
  const { store, send, answers } = await start();
  const ids = ["", "a/b.*>", "=a/b.*>", "x".repeat(10_000), "x".repeat(9_999), 7];
  const sent = ids.map((id) => send("one", id));
  // Digests of long keys are made outside the event loop, which no clock of ours can wait for.
  await Promise.all(sent.map(({ answered }) => answered));
  assert.deepEqual(answers, ids.map(() => "one passed"));
  const keys = await Array.fromAsync(store.list([]), ({ key }) => key.at(-1)!.length);
  assert.ok(keys.length === ids.length && Math.max(...keys) < 200);
});
