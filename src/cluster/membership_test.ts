import assert from "node:assert/strict";
import { settle, TestClock } from "../core/clock.ts";
import { encodeRecord } from "../flow/record.ts";
import type { Key } from "../flow/store.ts";
import { MemoryStore } from "../store/memory.ts";
import { joinTest, type Member, StepClock } from "./testing.ts";

function setUp() {
  const clock = new TestClock();
  const shared = new MemoryStore({ clock });
  return { clock, shared, join: (id?: string) => joinTest({ shared, clock, id }) };
}

const total = (members: Member[]) => members.reduce((sum, { share }) => sum + share, 0);
const record = async (shared: MemoryStore, key: Key) =>
  JSON.parse(new TextDecoder().decode((await shared.get(key))!.value));

Deno.test("a node whose record was replaced stops at once and joins under a new id", async () => {
  const { clock, shared, join } = setUp();
  await using a = await join("a");
  a.stand(3);
  await settle();
  const { nodeId } = a.node;
  const key = ["cluster", "nodes", nodeId];
  const own = await record(shared, key);
  await shared.put(key, encodeRecord({ ...own, state: "gone" }));
  await settle();
  assert.equal(a.share, 0);
  assert.deepEqual(a.runners[0]!.calls, ["start", "lose"]);
  await clock.advance(2_000);
  assert.notEqual(a.node.nodeId, nodeId);
  assert.deepEqual(a.runners[0]!.calls, ["start", "lose", "start"]);
  assert.equal(a.share, 3);
});

Deno.test("a claim that is answered when the node has another id starts nothing", async () => {
  const { clock, shared, join } = setUp();
  await using a = await join("a");
  const { nodeId } = a.node;
  const { create } = a.line.store;
  const answered = Promise.withResolvers<void>();
  a.line.store.create = async (key, value) => {
    const created = await create(key, value);
    if (key[1] === "flows") await answered.promise;
    return created;
  };
  a.stand(1);
  await settle();
  const key = ["cluster", "nodes", nodeId];
  await shared.put(key, encodeRecord({ ...await record(shared, key), state: "gone" }));
  await using b = await join("b");
  b.stand(1);
  await clock.advance(4_000);
  assert.equal(b.share, 1);
  assert.notEqual(a.node.nodeId, nodeId);
  answered.resolve();
  await settle();
  assert.deepEqual(a.runners[0]!.calls, []);
  assert.equal(b.share, 1);
});

Deno.test("a renewal whose answer was lost is found again, and was good from when it was sent", async () => {
  const { clock, join } = setUp();
  await using a = await join("a");
  a.stand(1);
  const { nodeId } = a.node;
  // The renewal at 2 s is carried out, those after it fail, and nobody hears of any before 3.3 s.
  await clock.advance(1_900);
  a.line.deaf = true;
  await clock.advance(1_400);
  a.line.deaf = false;
  await clock.advance(60_000);
  assert.equal(a.node.nodeId, nodeId);
  assert.deepEqual(a.runners[0]!.calls, ["start"]);
});

Deno.test("nobody hears: the right ends, and comes back under a new epoch", async () => {
  const { clock, join } = setUp();
  await using a = await join("a");
  a.stand(1);
  await settle();
  const first = a.runners[0]!.term!;
  a.line.deaf = true;
  await clock.advance(3_999);
  assert.equal(a.node.mayRun(), true);
  await clock.advance(1);
  assert.equal(first.signal.aborted, true);
  assert.equal(a.node.view().member, false);
  a.line.deaf = false;
  await clock.advance(2_000);
  assert.equal(a.share, 1);
  assert.equal(first.mayRun(), false);
  assert.ok(a.runners[0]!.term!.epoch > first.epoch);
  assert.deepEqual(a.runners[0]!.calls, ["start", "lose", "start"]);
});

Deno.test("the end of the right is told when it comes, and not only to those who ask", async () => {
  const { clock, shared } = setUp();
  await using a = await joinTest({ shared, clock, lease: 6_123 });
  a.stand(1);
  await settle();
  const start = clock.now();
  let endedAfter = 0;
  a.runners[0]!.term!.signal.addEventListener("abort", () => endedAfter = clock.now() - start);
  a.line.deaf = true;
  await clock.advance(10_000);
  assert.equal(endedAfter, 4_123);
});

Deno.test("the right ends by the clock on the wall where that is faster", async () => {
  const test = new TestClock();
  const clock = new StepClock(test);
  const shared = new MemoryStore({ clock: test });
  await using a = await joinTest({ shared, clock });
  a.stand(1);
  await settle();
  clock.offset = 3_999;
  assert.equal(a.share, 1);
  const { term } = a.runners[0]!;
  clock.offset = 4_000;
  assert.equal(term!.mayRun(), false);
  assert.equal(term!.signal.aborted, true);
  clock.offset = 0;
  assert.equal(term!.mayRun(), false);
});

Deno.test("time that a machine has slept counts, also when its clock is set back afterwards", async () => {
  const test = new TestClock();
  const clock = new StepClock(test);
  const shared = new MemoryStore({ clock: test });
  await using a = await joinTest({ shared, clock });
  a.stand(1);
  a.line.cut = true;
  await settle();
  clock.offset = 3_000;
  assert.equal(a.node.mayRun(), true);
  clock.offset = -60_000;
  assert.equal(a.node.mayRun(), true);
  await test.advance(999);
  assert.equal(a.node.mayRun(), true);
  await test.advance(1);
  assert.equal(a.node.mayRun(), false);
});

Deno.test("a store that was away for everybody makes nobody look gone", async () => {
  const { clock, join } = setUp();
  await using a = await join("a");
  await using b = await join("b");
  a.stand(10);
  await clock.advance(3_000);
  b.stand(10);
  const ids = [a.node.nodeId, b.node.nodeId];
  a.line.cut = b.line.cut = true;
  await clock.advance(60_000);
  assert.equal(total([a, b]), 0);
  a.line.cut = false;
  await clock.advance(900);
  b.line.cut = false;
  await clock.advance(10_000);
  assert.deepEqual([a.node.nodeId, b.node.nodeId], ids);
  assert.equal(a.share, 10);
});

Deno.test("a node can be asked whether another one is gone", async () => {
  const { clock, shared, join } = setUp();
  await using a = await join("a");
  assert.equal(await a.node.isGone(a.node.nodeId), false);
  assert.equal(await a.node.isGone("long forgotten"), true);
  // From now on nobody can be that node.
  assert.equal((await record(shared, ["cluster", "nodes", "long forgotten"])).state, "gone");

  a.line.blind = true;
  await using b = await join("b");
  assert.equal(await a.node.isGone(b.node.nodeId), false);
  assert.equal(a.node.view().nodes.length, 2);

  a.line.cut = true;
  assert.equal(await a.node.isGone("nobody knows"), false);
  a.line.cut = false;
  await clock.advance(5_000);
  assert.equal(await a.node.isGone("nobody knows"), true);
});

Deno.test("a node that joins just now is not taken for gone by one that overlooks it", async () => {
  const { shared, join } = setUp();
  await using a = await join("a");
  a.line.blind = true;
  const get = a.line.store.get;
  await using b = await join("b");
  // The read is late, as a mirror's would be.
  a.line.store.get = () => Promise.resolve(null);
  assert.equal(await a.node.isGone(b.node.nodeId), false);
  a.line.store.get = get;
  assert.equal((await record(shared, ["cluster", "nodes", b.node.nodeId])).state, "live");
});

Deno.test("live nodes have an order for every name, the same everywhere", async () => {
  const { join } = setUp();
  const members = [await join("a"), await join("b"), await join("c")];
  for (const name of ["one", "two", "three", "four"]) {
    assert.deepEqual(members.map(({ node }) => node.rank(name)).sort(), [0, 1, 2]);
  }
  for (const member of members) await member.exit();
});

Deno.test("records nobody can read are no reason to stop, and claims among them stay as they are", async () => {
  const { clock, shared, join } = setUp();
  const newer = new TextEncoder().encode('{"v":2,"owner":"x"}');
  await shared.put(["cluster", "nodes", "newer"], newer);
  await shared.put(["cluster", "flows", "demo/0"], newer);
  await shared.put(["cluster", "flows", "demo/1"], new TextEncoder().encode("{"));
  await using a = await join("a");
  a.stand(3);
  await clock.advance(30_000);
  assert.deepEqual(a.running, ["demo/2"]);
  assert.deepEqual((await shared.get(["cluster", "flows", "demo/0"]))!.value, newer);
});

Deno.test("a node that cannot join goes on trying", async () => {
  const { clock, shared } = setUp();
  const away = new MemoryStore({ clock });
  await away[Symbol.asyncDispose]();
  let store = away;
  const switching = new Proxy({} as MemoryStore, {
    get: (_, name) => {
      const member = Reflect.get(store, name, store);
      return typeof member === "function" ? member.bind(store) : member;
    },
  });
  const joining = joinTest({ shared: switching, clock });
  await clock.advance(2_000);
  await using a = await joining;
  a.stand(1);
  assert.equal(a.node.mayRun(), false);
  store = shared;
  await clock.advance(5_000);
  assert.equal(a.share, 1);
});
