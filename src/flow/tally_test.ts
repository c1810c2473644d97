import assert from "node:assert/strict";
import { TestClock } from "../core/clock.ts";
import { MemoryStore } from "../store/memory.ts";
import { Tally } from "./tally.ts";

Deno.test("what any node gave back untried is counted, for a day", async () => {
  const clock = new TestClock();
  const store = new MemoryStore({ clock });
  const room = ["flow", "f", "untried", "d"];
  const [a, b] = [new Tally(store, room, "a"), new Tally(store, room, "b")];
  assert.equal(await b.count("1@x"), 0);
  await Promise.all([a.note(["1@x", "2@x"]), new Tally(store, room, "a").note(["1@x"])]);
  await b.note(["1@x"]);
  assert.deepEqual([await b.count("1@x"), await a.count("2@x"), await a.count("3@x")], [3, 1, 0]);
  await clock.advance(86_400_000);
  assert.equal(await b.count("1@x"), 0);
});

Deno.test("a node remembers the messages it gave back last", async () => {
  const tally = new Tally(new MemoryStore({ clock: new TestClock() }), ["d"], "a");
  const messages = Array.from({ length: 10_000 }, (_, i) => `${i}@x`);
  await tally.note(messages);
  await tally.note(["0@x", "10000@x"]);
  const counts = await Promise.all(
    ["0@x", "1@x", "2@x", "10000@x"].map((one) => tally.count(one)),
  );
  assert.deepEqual(counts, [2, 0, 1, 1]);
});

Deno.test("a thousand messages cost one look, which sees all that was noted before", async () => {
  const store = new MemoryStore({ clock: new TestClock() });
  let looks = 0;
  const list = store.list.bind(store);
  store.list = (prefix) => (looks++, list(prefix));
  const tally = new Tally(store, ["d"], "a");
  const first = tally.count("1@x");
  await null;
  await tally.note(["1@x"]);
  const more = Array.from({ length: 1_000 }, (_, i) => tally.count(`${i}@x`));
  await first;
  assert.deepEqual([(await Promise.all(more))[1], looks], [1, 2]);
});

Deno.test("a thousand messages that go back in one turn cost one write", async () => {
  const store = new MemoryStore({ clock: new TestClock() });
  let writes = 0;
  const create = store.create.bind(store);
  store.create = (...given) => (writes++, create(...given));
  store.update = () => assert.fail("written again");
  const tally = new Tally(store, ["d"], "a");
  const messages = Array.from({ length: 1_000 }, (_, i) => `${i}@x`);
  await Promise.all(messages.map((one) => tally.note([one])));
  const counts = await Promise.all(messages.map((one) => tally.count(one)));
  assert.deepEqual([writes, new Set(counts)], [1, new Set([1])]);
});

Deno.test("what could not be noted is not noted later", async () => {
  const store = new MemoryStore({ clock: new TestClock() });
  const tally = new Tally(store, ["d"], "a");
  const { create } = store;
  store.create = () => Promise.reject(new Error("away"));
  await assert.rejects(tally.note(["1@x"]), { message: "away" });
  store.create = create;
  await tally.note(["2@x"]);
  assert.deepEqual([await tally.count("1@x"), await tally.count("2@x")], [0, 1]);
});

Deno.test("what was noted can be taken back", async () => {
  const tally = new Tally(new MemoryStore({ clock: new TestClock() }), ["d"], "a");
  await tally.note(["1@x", "2@x", "2@x"]);
  await tally.note(["1@x", "2@x"], -1);
  assert.deepEqual([await tally.count("1@x"), await tally.count("2@x")], [0, 1]);
});
