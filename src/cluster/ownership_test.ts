import assert from "node:assert/strict";
import { settle, TestClock } from "../core/clock.ts";
import { type LogFields, silentLog } from "../core/log.ts";
import type { Key } from "../flow/store.ts";
import { encodeRecord } from "../flow/record.ts";
import { MemoryStore } from "../store/memory.ts";
import { joinTest, type Member, Runner, StepClock } from "./testing.ts";

function setUp() {
  const clock = new TestClock();
  const shared = new MemoryStore({ clock });
  return { clock, shared, join: (id?: string) => joinTest({ shared, clock, id }) };
}

const total = (members: Member[]) => members.reduce((sum, { share }) => sum + share, 0);
const record = async (shared: MemoryStore, key: Key) =>
  JSON.parse(new TextDecoder().decode((await shared.get(key))!.value));

Deno.test("three nodes share fifty flows, each on one of them, within 40 % of even", async () => {
  for (const name of ["a", "b", "c", "d", "e", "f", "g", "h"]) {
    const { clock, join } = setUp();
    const members = [await join(name), await join(name), await join(name)];
    for (const member of members) member.stand(50);
    await clock.advance(30_000);
    const flows = members.flatMap(({ running }) => running);
    assert.equal(new Set(flows).size, 50);
    assert.equal(flows.length, 50);
    for (const { running } of members) {
      assert.ok(running.length >= 10 && running.length <= 23, `${running.length} flows`);
    }
    for (const member of members) await member.exit();
  }
});

Deno.test("a node that joins gets its share after 15 s, and no flow has a second runner", async () => {
  const { clock, join } = setUp();
  await using a = await join("a");
  a.stand(40);
  await settle();
  assert.equal(a.share, 40);
  await clock.advance(60_000);
  await using b = await join("b");
  b.stand(40);
  await clock.advance(14_900);
  assert.equal(b.share, 0);
  for (let i = 0; i < 100; i++) {
    await clock.advance(100);
    const flows = [...a.running, ...b.running];
    assert.equal(new Set(flows).size, flows.length);
  }
  assert.equal(total([a, b]), 40);
  assert.ok(b.share >= 16 && b.share <= 24, `${b.share} flows`);
});

Deno.test("an owner drains before it hands over, some flows at a time, and runs them until then", async () => {
  const { clock, join } = setUp();
  await using a = await join("a");
  a.stand(60);
  await clock.advance(5_000);
  await using b = await join("b");
  const ended = Promise.withResolvers<void>();
  for (const runner of a.runners) runner.ending = ended.promise;
  b.stand(60);
  await clock.advance(30_000);
  const drained = a.runners.filter(({ calls }) => calls.includes("drain"));
  assert.equal(drained.length, 16);
  assert.deepEqual([a.share, b.share], [60, 0]);
  ended.resolve();
  await clock.advance(1_000);
  assert.ok(b.share >= 20, `${b.share} flows`);
  assert.equal(total([a, b]), 60);
  for (const { calls } of a.runners) assert.ok(!calls.includes("lose"));
});

Deno.test("an owner that is cut off stops in time, and another one takes over after the lease", async () => {
  const { clock, join } = setUp();
  await using a = await join("a");
  a.stand(5);
  await using b = await join("b");
  await clock.advance(10_000);
  b.stand(5);
  const shares = () => [a.share, b.share];
  assert.deepEqual(shares(), [5, 0]);
  const [signal] = a.runners.map(({ term }) => term!.signal);
  a.line.cut = true;
  let fencedAfter = 0;
  let takenAfter = 0;
  for (let ms = 100; ms <= 10_000; ms += 100) {
    await clock.advance(100);
    const [before, after] = shares();
    assert.equal(signal!.aborted, before === 0);
    if (before === 0) fencedAfter ||= ms;
    if (after! > 0) takenAfter ||= ms;
    assert.ok(before === 0 || after === 0);
  }
  assert.ok(fencedAfter <= 4_000, `fenced after ${fencedAfter} ms`);
  assert.ok(takenAfter >= 4_000 && takenAfter <= 6_100, `taken over after ${takenAfter} ms`);
  assert.equal(b.share, 5);
  assert.deepEqual(a.runners[0]!.calls, ["start", "lose"]);

  // Back again it is somebody else, and stands for its flows as such.
  const before = a.node.nodeId;
  a.line.cut = false;
  await clock.advance(2_000);
  assert.notEqual(a.node.nodeId, before);
  assert.equal(await b.node.isGone(before), true);
  await clock.advance(20_000);
  assert.equal(total([a, b]), 5);
});

Deno.test("epochs grow from owner to owner, also when clocks go back", async () => {
  const clock = new TestClock();
  const shared = new MemoryStore({ clock });
  const late = new StepClock(clock);
  late.offset = -3_600_000;
  await using a = await joinTest({ shared, clock, id: "a" });
  a.stand(1);
  await settle();
  const first = a.runners[0]!.term!.epoch;
  assert.equal(first, clock.now());
  await using b = await joinTest({ shared, clock: late, id: "b" });
  b.stand(1);
  await a.exit();
  await settle();
  assert.equal(b.runners[0]!.term!.epoch, first + 1);
});

Deno.test("a node that leaves in order is replaced without any waiting", async () => {
  const { clock, shared, join } = setUp();
  await using a = await join("a");
  a.stand(20);
  await using b = await join("b");
  await using c = await join("c");
  await clock.advance(5_000);
  b.stand(20);
  c.stand(20);
  await a.exit();
  await settle(20);
  assert.equal(total([b, c]), 20);
  assert.ok(b.share > 0 && c.share > 0);
  assert.equal((await record(shared, ["cluster", "nodes", a.node.nodeId])).state, "left");
  assert.equal(await b.node.isGone(a.node.nodeId), true);
  assert.deepEqual(b.node.view().nodes.map(({ id }) => id).sort(), [
    b.node.nodeId,
    c.node.nodeId,
  ]);
});

Deno.test("a flow that is withdrawn goes to whoever stands for it", async () => {
  const { clock, join } = setUp();
  await using a = await join("a");
  await using b = await join("b");
  a.stand(8);
  await clock.advance(3_000);
  b.stand(8);
  await clock.advance(100);
  assert.equal(total([a]), 8);
  for (const candidacy of a.candidacies.splice(0)) await candidacy.withdraw();
  await settle();
  assert.equal(b.share, 8);
  // It may come back, and gets its share like any other.
  a.runners.length = 0;
  a.stand(8);
  await clock.advance(30_000);
  assert.ok(a.share > 0);
  assert.equal(total([a, b]), 8);
});

Deno.test("a start that was answered too late to run is none", async () => {
  const { clock, shared, join } = setUp();
  await using a = await join("a");
  a.line.deaf = true;
  a.stand(1);
  await clock.advance(60_000);
  assert.deepEqual(a.runners[0]!.calls, []);
  a.line.deaf = false;
  await clock.advance(5_000);
  assert.deepEqual(a.runners[0]!.calls, ["start"]);
  const claim = await record(shared, ["cluster", "flows", "demo/0"]);
  assert.equal(claim.epoch, a.runners[0]!.term!.epoch);
});

Deno.test("any number of flows costs a node one record that it renews", async () => {
  const { clock, join } = setUp();
  await using a = await join("a");
  a.stand(2_000);
  await settle(20);
  assert.equal(a.share, 2_000);
  a.line.calls.length = 0;
  await clock.advance(20_000);
  assert.equal(a.line.calls.filter((name) => name === "update").length, 10);
  assert.equal(a.line.calls.filter((name) => name === "list").length, 10);
  assert.ok(!a.line.calls.includes("create") && !a.line.calls.includes("put"));
});

Deno.test("one claim that changes costs one read, not a list", async () => {
  const { clock, join } = setUp();
  await using a = await join("a");
  a.stand(500);
  await using b = await join("b");
  await clock.advance(2_000);
  const reads = b.line.calls.filter((name) => name === "get").length;
  const lists = b.line.calls.filter((name) => name === "list").length;
  await a.candidacies[0]!.withdraw();
  await settle();
  assert.equal(b.line.calls.filter((name) => name === "get").length, reads + 1);
  assert.equal(b.line.calls.filter((name) => name === "list").length, lists);
  assert.equal(b.node.view().flows.find(({ flow }) => flow === "demo/0")!.owner, null);
});

Deno.test("a flow that the first in line does not stand for goes to the next, one renewal later", async () => {
  const { clock, join } = setUp();
  const members = [await join("a"), await join("b"), await join("c")];
  await clock.advance(1_000);
  const [first, second, third] = members.sort((x, y) => x.node.rank("f") - y.node.rank("f"));
  third!.standFor(new Runner("f"));
  second!.standFor(new Runner("f"));
  await clock.advance(1_900);
  assert.deepEqual(members.map(({ share }) => share), [0, 0, 0]);
  await clock.advance(200);
  assert.deepEqual(members.map(({ share }) => share), [0, 1, 0]);
  // It moves when the first stands for it too.
  first!.standFor(new Runner("f"));
  await clock.advance(80_000);
  assert.deepEqual(members.map(({ share }) => share), [1, 0, 0]);
  for (const member of members) await member.exit();
});

Deno.test("an older claim that is read late ends no turn", async () => {
  const { clock, shared, join } = setUp();
  await using a = await join("a");
  const key = ["cluster", "flows", "demo/0"];
  await shared.create(key, encodeRecord({ node: null, epoch: 5 }));
  const old = (await shared.get(key))!;
  a.stand(1);
  await clock.advance(1_000);
  assert.equal(a.share, 1);
  const { get } = a.line.store;
  a.line.store.get = (asked) => asked[1] === "flows" ? Promise.resolve(old) : get(asked);
  const { value, revision } = (await shared.get(key))!;
  await shared.update(key, value, revision);
  await clock.advance(5_000);
  assert.deepEqual(a.runners[0]!.calls, ["start"]);
});

Deno.test("what changes while a claim is being written is not overlooked", async () => {
  const { clock, shared, join } = setUp();
  await using a = await join("a");
  await using b = await join("b");
  const key = ["cluster", "flows", "demo/0"];
  const { create } = a.line.store;
  // The answer comes after the watch has told of what another node did next.
  a.line.store.create = async (...given) => {
    const created = await create(...given);
    const claim = { node: a.node.nodeId, epoch: clock.now(), next: b.node.nodeId };
    await shared.update(key, encodeRecord(claim), created!);
    await settle();
    return created;
  };
  a.stand(1);
  await clock.advance(3_000);
  assert.deepEqual(a.runners[0]!.calls, ["start", "drain"]);
});

Deno.test("claims that others took while theirs waited for its turn are not written in vain", async () => {
  const { clock, join } = setUp();
  await using a = await join("a");
  await using b = await join("b");
  const { create } = b.line.store;
  const slow = Promise.withResolvers<void>();
  b.line.store.create = async (...given) => {
    await slow.promise;
    return await create(...given);
  };
  for (const member of [a, b]) member.stand(300);
  b.line.calls.length = 0;
  await clock.advance(3_000);
  assert.equal(a.share, 300);
  slow.resolve();
  await clock.advance(1_000);
  // Those that were on their way already.
  assert.equal(b.line.calls.filter((name) => name === "create").length, 64);
  assert.equal(a.share, 300);
});

Deno.test("what no watch told is found by looking, at nodes every renewal, at claims every minute", async () => {
  const { clock, join } = setUp();
  await using a = await join("a");
  await using b = await join("b");
  b.line.blind = true;
  // Flows that belong to the first node, so that the other one does not ask for them.
  const names = Array.from({ length: 50 }, (_, i) => `demo/${i}`);
  const [one, two] = names.filter((name) => a.node.rank(name) === 0);
  for (const member of [a, b]) for (const flow of [one!, two!]) member.standFor(new Runner(flow));
  await clock.advance(20_000);
  assert.deepEqual([a.share, b.share], [2, 0]);
  await a.candidacies.shift()!.withdraw();
  await clock.advance(5_000);
  assert.deepEqual(b.running, []);
  await clock.advance(75_000);
  assert.deepEqual(b.running, [one]);
  await a.exit();
  await clock.advance(2_000);
  assert.deepEqual(b.running, [one, two]);
});

Deno.test("three take-overs without an owner that stays start a pause, which grows", async () => {
  const { clock, join } = setUp();
  const waits: number[] = [];
  let owner = await join("first");
  owner.stand(1);
  await clock.advance(1_000);
  for (let i = 0; i < 6; i++) {
    const next = await join("next");
    next.stand(1);
    owner.line.cut = true;
    let waited = 0;
    for (; next.share === 0; waited += 500) await clock.advance(500);
    waits.push(Math.round((waited - 6_000) / 5_000));
    await owner.node.leave();
    owner = next;
  }
  assert.deepEqual(waits, [0, 0, 0, 1, 2, 4]);
  // One that stays for five minutes has shown that the flow is harmless.
  await clock.advance(300_000);
  const next = await join("next");
  next.stand(1);
  await clock.advance(1_000);
  owner.line.cut = true;
  await clock.advance(9_000);
  assert.equal(next.share, 1);
  await owner.node.leave();
  await next.exit();
});

Deno.test("a candidate that throws is told of, and stops nobody else", async () => {
  const { clock, shared } = setUp();
  const told: [string, LogFields | undefined][] = [];
  const log = {
    ...silentLog,
    error: (text: string, fields?: LogFields) => told.push([text, fields]),
  };
  const a = await joinTest({ shared, clock, log: { ...silentLog, ...log } as never });
  class Bad extends Runner {
    override start(): void {
      throw new Error("no start");
    }
    override lose(): Promise<void> {
      throw new Error("no end");
    }
  }
  a.standFor(new Bad("bad"));
  const good = a.standFor(new Runner("good"));
  await settle();
  assert.equal(good.mayRun, true);
  a.line.cut = true;
  await clock.advance(5_000);
  assert.deepEqual(good.calls, ["start", "lose"]);
  assert.deepEqual(told.map(([text, fields]) => [text, fields!.flow, String(fields!.error)]), [
    ["An elected flow could not be started", "bad", "Error: no start"],
    ["An elected flow did not end well", "bad", "Error: no end"],
  ]);
  await a.node.leave();
});

Deno.test("calls of a candidate do not overlap, however often the right comes and goes", async () => {
  const { clock, join } = setUp();
  await using a = await join("a");
  const runner = a.standFor(new Runner("slow"));
  await settle();
  const ended = Promise.withResolvers<void>();
  runner.ending = ended.promise;
  for (let i = 0; i < 3; i++) {
    a.line.cut = true;
    await clock.advance(5_000);
    a.line.cut = false;
    await clock.advance(5_000);
  }
  assert.deepEqual(runner.calls, ["start", "lose"]);
  ended.resolve();
  await settle();
  assert.deepEqual(runner.calls, ["start", "lose", "start"]);
});
