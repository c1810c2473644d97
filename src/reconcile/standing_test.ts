import assert from "node:assert/strict";
import { settle, TestClock } from "../core/clock.ts";
import { FlowError, FlowErrors } from "../core/errors.ts";
import { seededRandom } from "../core/random.ts";
import { DEFAULT_RETRY } from "../engine/retry.ts";
import { entry, flowOf, HandSource, sync, waits } from "../engine/testing.ts";
import { type Candidate, type Cluster, soloCluster, type Term } from "../flow/cluster.ts";
import type { Flow, TaskEntry } from "../flow/flow.ts";
import { testEvent, testServices } from "../flow/testing.ts";
import { MemoryStore } from "../store/memory.ts";
import { keepingLog } from "../tasks/core/testing.ts";
import type { Wanted } from "./desired.ts";
import { Reconciler } from "./reconciler.ts";

/** A cluster whose elections the test decides. */
class HandCluster {
  readonly candidates = new Map<string, Candidate>();
  /** In order: who stood and who withdrew. */
  readonly seen: string[] = [];
  readonly cluster: Cluster;

  constructor() {
    this.cluster = {
      ...soloCluster({ nodeId: "me", now: () => 0 }),
      stand: (flow, candidate) => {
        assert.ok(!this.candidates.has(flow), "one candidacy at a time");
        this.candidates.set(flow, candidate);
        this.seen.push(`stand ${flow}`);
        return {
          claim: { flow, owner: "me", epoch: 7, next: null },
          withdraw: () => {
            this.candidates.delete(flow);
            this.seen.push(`withdraw ${flow}`);
            return Promise.resolve();
          },
        };
      },
    };
  }

  /** Gives this node a term; `end` takes the right away. */
  grant(flow: string, epoch = 7): { readonly end: () => void } {
    const ended = new AbortController();
    const term: Term = {
      epoch,
      mayRun: () => !ended.signal.aborted,
      signal: ended.signal,
    };
    this.candidates.get(flow)!.start(term);
    return { end: () => ended.abort() };
  }
}

function setUp() {
  const clock = new TestClock();
  const hand = new HandCluster();
  const log = keepingLog();
  const reconciler = new Reconciler({
    services: testServices({
      clock,
      random: seededRandom(1),
      cluster: hand.cluster,
      runtimeStore: new MemoryStore({ clock }),
    }),
    log,
    retry: DEFAULT_RETRY,
    credentials: (path) => path,
  });
  const state = () => reconciler.status().map((one) => [one.identity, one.state].join(" "));
  /** What was logged of flows. */
  const told = () => log.lines.map(([, message, { epoch }]) => [message, epoch ?? null]);
  return { clock, hand, reconciler, state, told };
}

function elected(digest: string, tasks: readonly TaskEntry[], more: Partial<Flow> = {}): Wanted {
  const flow = { ...flowOf(tasks), identity: "a", digest, requireLeaderElection: true, ...more };
  return { identity: "a", source: "files", file: "a.yaml", flow };
}

const end = () => sync("end", (event, emit) => emit(event));

Deno.test("an elected flow is made ready and stands by until the node has a term", async () => {
  const { hand, reconciler, state } = setUp();
  const source = new HandSource();
  await reconciler.apply([elected("1", [source.task(), end()])]);
  assert.deepEqual(state(), ["a standby"]);
  assert.ok(!("output" in source && source.output));
  hand.grant("a");
  assert.deepEqual(state(), ["a running"]);
  assert.deepEqual(await source.output.deliver(testEvent(1)), { ok: true });
  const [status] = reconciler.status();
  assert.deepEqual([status!.owner, status!.epoch], ["me", 7]);
  await reconciler.stop(0);
});

Deno.test("the log says when an elected flow stands by, starts, and is handed over", async () => {
  const { hand, reconciler, told } = setUp();
  const flow = () => elected("1", [new HandSource().task(), end()]);
  await reconciler.apply([flow()]);
  hand.grant("a");
  await hand.candidates.get("a")!.drain();
  assert.deepEqual(told(), [["Flow stands by", null], ["Flow started", 7], [
    "Flow handed over",
    null,
  ]]);
  await reconciler.stop(0);
});

Deno.test("where a flow is elected at once the log says so once", async () => {
  const { hand, reconciler, told } = setUp();
  const { stand } = soloCluster({ nodeId: "me", now: () => 7 });
  hand.cluster.stand = stand;
  await reconciler.apply([elected("1", [new HandSource().task(), end()])]);
  assert.deepEqual(told(), [["Flow started", null]]);
  await reconciler.stop(0);
});

Deno.test("tasks read the epoch of their own generation's term", async () => {
  const { hand, reconciler } = setUp();
  const source = new HandSource();
  const epochs: number[] = [];
  const reads = entry("reads", {
    type: "reads",
    summary: "",
    config: {} as never,
    examples: [],
    mode: "sync",
    create: ({ epoch }) => () => void epochs.push(epoch()),
  });
  await reconciler.apply([elected("1", [source.task(), reads])]);
  hand.grant("a", 41);
  await source.output.deliver(testEvent(1));
  assert.deepEqual(epochs, [41]);
  await reconciler.stop(0);
});

Deno.test("past its right a node takes nothing in and starts no attempt, not even a retry", async () => {
  const { clock, hand, reconciler } = setUp();
  const source = new HandSource();
  let attempts = 0;
  const handled: unknown[] = [];
  const tries = waits("tries", () => {
    attempts++;
    return Promise.reject(new FlowError("http.unavailable", "not now"));
  });
  const handler = sync("handler", (event) => void handled.push(event.error), { when: "error" });
  await reconciler.apply([elected("1", [source.task(), tries, handler])]);
  const { end } = hand.grant("a");
  const first = source.output.deliver(testEvent(1));
  await settle();
  assert.equal(attempts, 1);
  end();
  const late = await source.output.deliver(testEvent(2));
  assert.equal(late.ok, false);
  await clock.advance(60_000);
  assert.equal(attempts, 1);
  const outcome = await first;
  assert.equal(!outcome.ok && (outcome.cause as FlowError).code, "cluster.fenced");
  assert.deepEqual(handled, [], "an error branch must not make it done here");
  await reconciler.stop(0);
});

Deno.test("a lost term ends the generation at once, and the next one stands by", async () => {
  const { clock, hand, reconciler, state } = setUp();
  const source = new HandSource();
  const work = Promise.withResolvers<null>();
  await reconciler.apply([elected("1", [source.task(), waits("slow", () => work.promise)])]);
  const { end } = hand.grant("a");
  const outcome = source.output.deliver(testEvent(1));
  await settle();
  const before = source.output;
  end();
  const lost = hand.candidates.get("a")!.lose();
  await clock.advance(0);
  await lost;
  assert.equal((await outcome).ok, false);
  await settle(10);
  assert.deepEqual(state(), ["a standby"]);
  hand.grant("a", 9);
  assert.notEqual(source.output, before);
  assert.deepEqual(state(), ["a running"]);
  work.resolve(null);
  await reconciler.stop(0);
});

Deno.test("a hand-over lets what is under way end first", async () => {
  const { hand, reconciler, state } = setUp();
  const source = new HandSource();
  const work = Promise.withResolvers<null>();
  await reconciler.apply([elected("1", [source.task(), waits("slow", () => work.promise)])]);
  hand.grant("a");
  const outcome = source.output.deliver(testEvent(1));
  let drained = false;
  const draining = hand.candidates.get("a")!.drain().then(() => drained = true);
  await settle();
  assert.equal(source.output.signal.aborted, true);
  assert.equal(drained, false);
  work.resolve(null);
  await draining;
  assert.deepEqual(await outcome, { ok: true });
  await settle(10);
  assert.deepEqual(state(), ["a standby"]);
  assert.deepEqual(hand.seen, ["stand a"]);
  await reconciler.stop(0);
});

Deno.test("a new version takes over the term of the old one, or stands by in its place", async () => {
  const { hand, reconciler, state } = setUp();
  const [one, two, three] = [new HandSource(), new HandSource(), new HandSource()];
  await reconciler.apply([elected("1", [one.task(), end()])]);
  await reconciler.apply([elected("2", [two.task(), end()])]);
  assert.deepEqual(state(), ["a standby"]);
  hand.grant("a");
  assert.equal(one.output, undefined);
  assert.ok(two.output);
  await reconciler.apply([elected("3", [three.task(), end()])]);
  assert.equal(two.output.signal.aborted, true);
  assert.deepEqual(await three.output.deliver(testEvent(1)), { ok: true });
  assert.deepEqual(hand.seen, ["stand a"]);
  await reconciler.stop(0);
});

Deno.test("a version that comes while the flow is handed over does not start with the old term", async () => {
  const { hand, reconciler, state } = setUp();
  const [one, two] = [new HandSource(), new HandSource()];
  const work = Promise.withResolvers<null>();
  await reconciler.apply([elected("1", [one.task(), waits("slow", () => work.promise)])]);
  hand.grant("a");
  void one.output.deliver(testEvent(1));
  const draining = hand.candidates.get("a")!.drain();
  await reconciler.apply([elected("2", [two.task(), end()])]);
  work.resolve(null);
  await draining;
  await settle(10);
  assert.equal(two.output, undefined);
  assert.deepEqual(state(), ["a standby"]);
  hand.grant("a");
  assert.ok(two.output);
  await reconciler.stop(0);
});

Deno.test("at the end a claim is released when the last delivery has ended, an idle one at once", async () => {
  const { hand, reconciler } = setUp();
  const source = new HandSource();
  const work = Promise.withResolvers<null>();
  await reconciler.apply([elected("1", [source.task(), waits("slow", () => work.promise)])]);
  hand.grant("a");
  void source.output.deliver(testEvent(1));
  const stopped = reconciler.stop(10_000);
  await settle(10);
  assert.deepEqual(hand.seen, ["stand a"]);
  work.resolve(null);
  assert.equal(await stopped, true);
  assert.deepEqual(hand.seen, ["stand a", "withdraw a"]);
});

Deno.test("a flow that was taken away and comes back stands anew, after it left", async () => {
  const { hand, reconciler } = setUp();
  const [one, two] = [new HandSource(), new HandSource()];
  const work = Promise.withResolvers<null>();
  await reconciler.apply([elected("1", [one.task(), waits("slow", () => work.promise)])]);
  hand.grant("a");
  void one.output.deliver(testEvent(1));
  await reconciler.apply([]);
  await reconciler.apply([elected("2", [two.task(), end()])]);
  await settle(10);
  assert.deepEqual(hand.seen, ["stand a"]);
  work.resolve(null);
  await settle(10);
  assert.deepEqual(hand.seen, ["stand a", "withdraw a", "stand a"]);
  await reconciler.stop(0);
});

Deno.test("a flow that cannot be made ready again leaves the election to nodes that can", async () => {
  const { hand, reconciler, state } = setUp();
  const source = new HandSource();
  let broken = false;
  const shy = entry("shy", {
    type: "shy",
    summary: "",
    config: {} as never,
    examples: [],
    mode: "sync",
    create() {
      if (broken) throw new FlowError("resource.missing", "gone");
      return (event, emit) => emit(event);
    },
  });
  await reconciler.apply([elected("1", [source.task(), shy])]);
  hand.grant("a");
  broken = true;
  await hand.candidates.get("a")!.drain();
  await settle(10);
  assert.deepEqual(state(), ["a invalid"]);
  assert.deepEqual(hand.seen, ["stand a", "withdraw a"]);
  await reconciler.stop(0);
});

Deno.test("a flow that is slow to be made ready again stands when it is, not before", async () => {
  const { clock, hand, reconciler, state } = setUp();
  const source = new HandSource();
  let ready = Promise.resolve();
  const { promise: late, resolve } = Promise.withResolvers<void>();
  const slow = entry("slow", {
    type: "slow",
    summary: "",
    config: {} as never,
    examples: [],
    mode: "sync",
    async create() {
      await ready;
      return (event, emit) => emit(event);
    },
  });
  await reconciler.apply([elected("1", [source.task(), slow])]);
  hand.grant("a");
  ready = late;
  await hand.candidates.get("a")!.lose();
  await settle(10);
  await clock.advance(2_000);
  assert.deepEqual(state(), ["a degraded"]);
  assert.deepEqual(hand.seen, ["stand a", "withdraw a"]);
  resolve();
  await settle(10);
  assert.deepEqual(hand.seen, ["stand a", "withdraw a", "stand a"]);
  hand.grant("a", 8);
  assert.deepEqual(await source.output.deliver(testEvent(1)), { ok: true });
  await reconciler.stop(0);
});

Deno.test("a broken file does not cost an elected flow its last good version, even if that has to wait", async () => {
  const { clock, hand, reconciler, state } = setUp();
  const source = new HandSource();
  let away = false;
  const far = entry("far", {
    type: "far",
    summary: "",
    config: {} as never,
    examples: [],
    mode: "sync",
    create() {
      if (away) throw new FlowError("nats.unavailable", "away");
      return (event, emit) => emit(event);
    },
  });
  await reconciler.apply([elected("1", [source.task(), far])]);
  hand.grant("a");
  const broken = new FlowErrors([new FlowError("flow.invalid", "broken")]);
  await reconciler.apply([{ ...elected("2", []), flow: broken }]);
  away = true;
  const lost = hand.candidates.get("a")!.lose();
  await clock.advance(0);
  await lost;
  await clock.advance(1_000);
  assert.deepEqual(hand.seen, ["stand a", "withdraw a"]);
  away = false;
  await clock.advance(60_000);
  assert.deepEqual(hand.seen, ["stand a", "withdraw a", "stand a"]);
  await reconciler.apply([]);
  await clock.advance(1_000);
  assert.deepEqual([state(), hand.candidates.size], [[], 0]);
  await reconciler.stop(0);
});

Deno.test("a flow may become elected and stop being so", async () => {
  const { hand, reconciler, state } = setUp();
  const [one, two, three] = [new HandSource(), new HandSource(), new HandSource()];
  const plain = { requireLeaderElection: false };
  await reconciler.apply([elected("1", [one.task(), end()], plain)]);
  assert.deepEqual(state(), ["a running"]);
  await reconciler.apply([elected("2", [two.task(), end()])]);
  await settle(10);
  assert.equal(one.output.signal.aborted, true);
  assert.deepEqual(state(), ["a standby"]);
  hand.grant("a");
  await reconciler.apply([elected("3", [three.task(), end()], plain)]);
  await settle(10);
  assert.deepEqual(hand.seen, ["stand a", "withdraw a"]);
  assert.equal(two.output.signal.aborted, true);
  assert.deepEqual(await three.output.deliver(testEvent(1)), { ok: true });
  assert.deepEqual(state(), ["a running"]);
  await reconciler.stop(0);
});
