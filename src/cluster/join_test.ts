import assert from "node:assert/strict";
import { settle, TestClock } from "../core/clock.ts";
import { turnOfSource } from "../flow/cluster.ts";
import { MemoryStore } from "../store/memory.ts";
import { keepingLog } from "../tasks/core/testing.ts";
import { joinCluster } from "./join.ts";
import { joinTest, Runner } from "./testing.ts";

function setUp() {
  const clock = new TestClock();
  const shared = new MemoryStore({ clock });
  const log = keepingLog();
  return { clock, shared, log, join: (id?: string) => joinTest({ shared, clock, id, log }) };
}

Deno.test("the view shows nodes and claims as this node sees them", async () => {
  const { clock, join } = setUp();
  await using a = await join("a");
  await using b = await join("b");
  a.stand(1);
  const turn = turnOfSource("acme");
  for (const member of [a, b]) member.standFor(new Runner(turn));
  await settle();
  const { epoch } = a.runners[0]!.term!;
  const started = "2030-01-01T00:00:00.000Z";
  const node = { started, version: "1.2.3", host: "here" };
  assert.deepEqual(b.node.view(), {
    member: true,
    nodes: [
      { ...node, id: b.node.nodeId, self: true, flows: 0 },
      { ...node, id: a.node.nodeId, self: false, flows: 1 },
    ],
    flows: [{ flow: "demo/0", owner: a.node.nodeId, epoch, next: null }],
    sources: [{ source: "acme", owner: (a.node.rank(turn) === 0 ? a : b).node.nodeId }],
  });
  assert.deepEqual(a.candidacies[0]!.claim, b.node.view().flows[0]);
  assert.equal(clock.now(), epoch);
});

Deno.test("leaving ends all turns, watches and timers, and nothing is amiss", async () => {
  const { clock, log, join } = setUp();
  const a = await join("a");
  a.stand(2);
  await settle();
  const ended = Promise.withResolvers<void>();
  for (const runner of a.runners) runner.ending = ended.promise;
  let left = false;
  const leaving = a.node.leave().then(() => left = true);
  await settle();
  assert.deepEqual(a.runners[0]!.calls, ["start", "lose"]);
  assert.equal(left, false);
  ended.resolve();
  await leaving;
  await a.node.leave();
  assert.equal(clock.pending, 0);
  assert.equal(a.node.mayRun(), false);
  assert.deepEqual(log.lines.map(([, message]) => message), ["This node has joined the cluster"]);
});

Deno.test("a store that never answers stops what is elected, and keeps nobody from leaving", async () => {
  const { clock, shared, join } = setUp();
  const a = await join("a");
  a.stand(1);
  await settle();
  for (const call of ["get", "create", "update"] as const) {
    a.line.store[call] = () => new Promise<never>(() => {});
  }
  a.line.store.list = async function* () {
    await new Promise<never>(() => {});
  };
  await clock.advance(4_000);
  assert.equal(a.share, 0);
  let left = false;
  const leaving = a.node.leave().then(() => left = true);
  await clock.advance(6_000);
  assert.equal(left, true);
  await leaving;
  await shared[Symbol.asyncDispose]();
});

Deno.test("a node says that it leaves, also over a renewal whose answer was lost", async () => {
  const { clock, shared, join } = setUp();
  const a = await join("a");
  a.line.deaf = true;
  await clock.advance(2_000);
  a.line.deaf = false;
  await a.node.leave();
  const entry = await shared.get(["cluster", "nodes", a.node.nodeId]);
  assert.equal(JSON.parse(new TextDecoder().decode(entry!.value)).state, "left");
});

Deno.test("nodes that ended are forgotten after an hour", async () => {
  const { clock, shared, join } = setUp();
  await using a = await join("a");
  const [left, killed] = [await join("left"), await join("killed")];
  await left.node.leave();
  killed.line.cut = true;
  await clock.advance(10_000);
  const known = async () =>
    (await Array.fromAsync(shared.list(["cluster", "nodes"]))).map(({ key }) => key.at(-1));
  assert.equal((await known()).length, 3);
  await killed.node.leave();
  await clock.advance(3_600_000);
  assert.deepEqual(await known(), [a.node.nodeId]);
});

Deno.test("flows that an owner does not hand over keep nobody from asking for others after a minute", async () => {
  const { clock, join } = setUp();
  await using a = await join("a");
  a.stand(60);
  await clock.advance(5_000);
  await using b = await join("b");
  const ended = Promise.withResolvers<void>();
  for (const runner of a.runners) runner.ending = ended.promise;
  b.stand(60);
  const drained = () => a.runners.filter(({ calls }) => calls.includes("drain")).length;
  await clock.advance(30_000);
  const asked = drained();
  await clock.advance(60_000);
  assert.ok(drained() > asked, `${asked} of ${drained()}`);
  ended.resolve();
});

Deno.test("a lease that is too short for its renewals is refused", async () => {
  await assert.rejects(joinCluster({ lease: 4_000, renew: 2_000 } as never), {
    code: "cluster.lease_invalid",
    remedy: "config",
    message: "Cannot keep a lease of 4000 ms by renewing it every 2000 ms",
  });
});

Deno.test("standing twice for one flow is a defect", async () => {
  const { join } = setUp();
  await using a = await join("a");
  a.stand(1);
  assert.throws(() => a.stand(1), { code: "cluster.stands_already", remedy: "bug" });
});
