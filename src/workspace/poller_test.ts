import assert from "node:assert/strict";
import type { TestClock } from "../core/clock.ts";
import { FlowError } from "../core/errors.ts";
import { silentLog } from "../core/log.ts";
import { seededRandom } from "../core/random.ts";
import type { Snapshot, Source } from "../flow/source.ts";
import { type PollerOptions, SourcePoller } from "./poller.ts";
import { setUp as setUpStore, snapshotOf, until } from "./testing.ts";

const MINUTE = 60_000;

/** A source that the test fills; `asked` is when it was read, and against which version. */
class HandSource implements Source {
  readonly asked: { at: number; previous: string | null }[] = [];
  current: Snapshot | FlowError = snapshotOf("1", { "flows/a.yaml": "one" });
  /** Runs while the source is being read. */
  meanwhile: () => unknown = () => {};

  constructor(readonly clock: TestClock) {}

  async read(previous: string | null): Promise<Snapshot | null> {
    this.asked.push({ at: this.clock.now(), previous });
    const { current, meanwhile } = this;
    this.meanwhile = () => {};
    await meanwhile();
    if (current instanceof FlowError) throw current;
    return current.version === previous ? null : current;
  }
}

function setUp(more: Partial<PollerOptions> = {}) {
  const given = setUpStore();
  const { clock, workspaces, publisher } = given;
  const source = new HandSource(clock);
  const ended = new AbortController();
  const start = clock.now();
  const poller = new SourcePoller({
    name: "demo",
    source,
    workspaces,
    interval: MINUTE,
    clock,
    random: seededRandom(1),
    log: silentLog,
    polls: () => true,
    signal: ended.signal,
    ...more,
  });
  let running: Promise<void> | undefined;
  return {
    ...given,
    source,
    poller,
    publisher,
    run: () => void (running = poller.run()),
    /** Moves the clock, which waits while the source is being read and published. */
    async advance(ms: number) {
      for (let left = ms; left >= 0; left -= 1_000) {
        await clock.advance(Math.min(left, 1_000));
        await poller.idle();
      }
      await clock.advance(0);
      await poller.idle();
    },
    /** Seconds since the start at which the source was asked. */
    times: () => source.asked.map(({ at }) => (at - start) / 1_000),
    async end() {
      ended.abort();
      await running;
      assert.equal(clock.pending, 0, "a timer is left");
    },
  };
}

Deno.test("a source is read at once, and again within the interval, against what it gave last", async () => {
  const { advance, source, run, times, seen, end } = setUp();
  run();
  await advance(0);
  assert.deepEqual(await seen(), { "a.yaml": "one" });
  await advance(10 * MINUTE);
  assert.ok(times().every((time, at) => at === 0 || time - times()[at - 1]! <= 60), `${times()}`);
  assert.ok(times().length <= 13, "not much more often either");
  assert.equal(new Set(times().map((time, at) => time - (times()[at - 1] ?? 0))).size > 5, true);
  assert.deepEqual(source.asked.slice(0, 3).map(({ previous }) => previous), [null, "1", "1"]);
  await end();
});

Deno.test("a trigger checks at once", async () => {
  const { advance, source, poller, run, seen, end } = setUp();
  run();
  await advance(1_000);
  source.current = snapshotOf("2", { "flows/a.yaml": "two" });
  poller.trigger();
  await advance(0);
  assert.deepEqual(await seen(), { "a.yaml": "two" });
  await end();
});

Deno.test("a trigger while the source is being read checks once more after", async () => {
  const { advance, source, poller, run, times, seen, end } = setUp();
  source.meanwhile = () => {
    // What was pushed just now is not in what is being read.
    source.current = snapshotOf("2", { "flows/a.yaml": "two" });
    poller.trigger();
    poller.trigger();
  };
  run();
  await advance(0);
  assert.deepEqual(times(), [0, 0]);
  assert.deepEqual(await seen(), { "a.yaml": "two" });
  await end();
});

Deno.test("a node that does not poll waits, checks when triggered, and takes over", async () => {
  let polls = false;
  const { advance, poller, run, times, end } = setUp({ polls: () => polls });
  run();
  await advance(5 * MINUTE);
  assert.deepEqual(times(), []);
  assert.equal(poller.state().polls, false);
  poller.trigger();
  await advance(0);
  assert.equal(times().length, 1);
  polls = true;
  await advance(MINUTE);
  assert.equal(times().length, 2);
  await end();
});

Deno.test("an error is told, what runs stays, and the source is asked again with growing pauses", async () => {
  const { advance, clock, source, poller, run, times, seen, end } = setUp();
  run();
  await advance(0);
  source.current = new FlowError("source.unavailable", "Cannot reach git.example");
  await advance(MINUTE);
  const { next, ...state } = poller.state();
  assert.deepEqual(state, {
    name: "demo",
    polls: true,
    checked: "2030-01-01T00:00:00.000Z",
    version: "1",
    error: { code: "source.unavailable", message: "Cannot reach git.example" },
  });
  const { length } = times();
  await clock.advance(Date.parse(next!) - clock.now() - 1);
  assert.equal(times().length, length);
  await advance(2);
  assert.equal(times().length, length + 1);
  assert.deepEqual(await seen(), { "a.yaml": "one" });
  await advance(30 * MINUTE);
  const pauses = times().slice(2).map((time, at) => time - times()[at + 1]!);
  assert.ok(pauses[0]! < 10, `first ${pauses[0]}`);
  assert.ok(pauses.at(-1)! > 100 && pauses.at(-1)! <= 450, `last ${pauses.at(-1)}`);
  source.current = snapshotOf("2", { "flows/a.yaml": "two" });
  await advance(8 * MINUTE);
  assert.deepEqual(await seen(), { "a.yaml": "two" });
  assert.equal(poller.state().error, undefined);
  await end();
});

Deno.test("an error is logged once, with what helps", async () => {
  const told: unknown[] = [];
  const error = (...said: unknown[]) => void told.push(said);
  const { advance, source, run, end } = setUp({ log: { ...silentLog, error } });
  source.current = new FlowError("source.auth_failed", "It refuses", { hint: "renew the token" });
  run();
  await advance(5 * MINUTE);
  const fields = {
    source: "demo",
    code: "source.auth_failed",
    error: "It refuses",
    hint: "renew the token",
  };
  assert.deepEqual(told, [["Cannot read a source, what it gave before runs on", fields]]);
  await end();
});

Deno.test("after trouble the interval counts again, and the next trouble begins anew", async () => {
  const { advance, source, run, times, end } = setUp();
  const down = new FlowError("source.unavailable", "Cannot reach git.example");
  /** Seconds between the checks from here on. */
  const pausesIn = async (ms: number) => {
    const from = times().length - 1;
    await advance(ms);
    return times().slice(from + 1).map((time, at) => time - times()[from + at]!);
  };
  source.current = down;
  run();
  await advance(30 * MINUTE);
  source.current = snapshotOf("2", { "flows/a.yaml": "two" });
  await advance(8 * MINUTE);
  const calm = await pausesIn(10 * MINUTE);
  assert.ok(Math.max(...calm) <= 60, `the longest ${Math.max(...calm)}`);
  source.current = down;
  const [until, first] = await pausesIn(2 * MINUTE);
  assert.ok(until! <= 60 && first! < 10, `${until}, and the first after trouble ${first}`);
  await end();
});

Deno.test("a server that asks to be left alone is, even by triggers", async () => {
  const { advance, source, poller, run, times, end } = setUp();
  source.current = new FlowError("source.unavailable", "429", { retryAfter: 10 * MINUTE });
  run();
  await advance(MINUTE);
  poller.trigger();
  await advance(8 * MINUTE);
  assert.deepEqual(times(), [0]);
  await advance(2 * MINUTE);
  assert.equal(times()[1], 600);
  await end();
});

Deno.test("nobody is left alone for longer than an hour", async () => {
  const { advance, source, run, times, end } = setUp();
  source.current = new FlowError("source.unavailable", "429", { retryAfter: 10_000 * MINUTE });
  run();
  await advance(61 * MINUTE);
  assert.deepEqual(times(), [0, 3_600]);
  await end();
});

Deno.test("a version that is rejected is told with its place, also after a restart", async () => {
  const { advance, source, poller, run, workspaces, end } = setUp();
  source.current = snapshotOf("1", { "flows/a.yaml": "broken" });
  run();
  await advance(0);
  const error = {
    code: "config.unknown_key",
    message: "It is broken",
    position: { file: "demo:flows/a.yaml", line: 3, column: 7 },
  };
  assert.deepEqual(poller.state().error, error);
  await end();
  const later = setUp({ workspaces });
  later.source.current = source.current;
  later.run();
  await later.advance(0);
  assert.deepEqual(later.source.asked.map(({ previous }) => previous), ["1"]);
  assert.deepEqual(later.poller.state().error, error);
  await later.end();
});

Deno.test("what was read while another node published is read again", async () => {
  const { advance, source, publisher, run, times, seen, end } = setUp();
  source.meanwhile = async () => {
    source.current = snapshotOf("2", { "flows/a.yaml": "two" });
    await publisher().publish("demo", source.current);
  };
  run();
  await advance(0);
  assert.deepEqual(times(), [0, 0]);
  assert.deepEqual(await seen(), { "a.yaml": "two" });
  await end();
});

Deno.test("force reads everything and publishes what is held", async () => {
  const { poller, workspaces, source, publish } = setUp();
  await publish("0", { "flows/a.yaml": "zero" });
  await poller.check();
  await workspaces.rollback("demo");
  assert.equal(await poller.check(), null, "the source has nothing newer");
  const forced = await poller.check({ force: true });
  assert.deepEqual([forced!.outcome, forced!.active], ["activated", "1"]);
  assert.equal(source.asked.at(-1)!.previous, null);
});

Deno.test("what a flow published under a source's version gives way to what the source has", async () => {
  const { poller, seen, workspaces, source } = setUp();
  await workspaces.publish("demo", snapshotOf("1", { "flows/a.yaml": "forged" }));
  assert.equal((await poller.check())!.outcome, "activated");
  assert.deepEqual(await seen(), { "a.yaml": "one" });
  assert.equal(await poller.check(), null);
  // The same files count as the source's from then on.
  await workspaces.publish("demo", snapshotOf("2", { "flows/a.yaml": "two" }));
  source.current = snapshotOf("2", { "flows/a.yaml": "two" });
  assert.equal((await poller.check())!.outcome, "activated");
  assert.equal(await poller.check(), null);
});

Deno.test("another prefix in the configuration publishes the same version again", async () => {
  const { poller, seen, workspaces, clock } = setUp({ prefix: "team" });
  await workspaces.publish("demo", snapshotOf("1", { "flows/a.yaml": "one" }));
  assert.equal((await poller.check())!.outcome, "activated");
  assert.deepEqual(await seen(), { "team/a.yaml": "one" });
  assert.equal(await poller.check(), null);
  assert.equal(clock.pending, 0);
});

Deno.test("a source that never answers is given up, and asked again", async () => {
  const { clock, source, poller, run, times, end } = setUp();
  source.meanwhile = () => new Promise(() => {});
  run();
  await clock.advance(10 * MINUTE);
  assert.equal(poller.state().error!.message, "The source did not answer in time");
  await clock.advance(10_000);
  assert.equal(times().length, 2);
  await until(() => poller.state().version === "1");
  await end();
});
