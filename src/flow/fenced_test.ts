import assert from "node:assert/strict";
import { TestClock } from "../core/clock.ts";
import { MemoryStore } from "../store/memory.ts";
import { testStore } from "../store/testing.ts";
import type { Term } from "./cluster.ts";
import { fenced } from "./fenced.ts";
import type { Entry, Store } from "./store.ts";
import { unstamped } from "./unstamped.ts";

const bytes = (text: string) => new TextEncoder().encode(text);
const text = (entry: Entry | null) => entry && new TextDecoder().decode(entry.value);

function termOf(epoch: number): Term {
  return { epoch, mayRun: () => true, signal: new AbortController().signal };
}

testStore("fenced", ({ clock }) => fenced(new MemoryStore({ clock }), () => termOf(7), clock));
testStore("unstamped", ({ clock }) => unstamped(new MemoryStore({ clock })));

/** One store, and views of it for owners of different epochs. */
function setUp() {
  const clock = new TestClock();
  const store = new MemoryStore({ clock });
  const written: string[] = [];
  const noting: Store = new Proxy(store, {
    get(target, name) {
      const member = Reflect.get(target, name, target);
      if (typeof member !== "function") return member;
      return (...args: unknown[]) => {
        if (["put", "create", "update", "delete"].includes(String(name))) {
          written.push(String(name));
        }
        return member.apply(target, args);
      };
    },
  });
  const owner = (epoch: number) => fenced(noting, () => termOf(epoch), clock);
  return { clock, store, written, owner };
}

const refused = { code: "cluster.fenced", remedy: "retry" };

Deno.test("a write of an old owner is refused once a newer one has read the key", async () => {
  const { owner } = setUp();
  const [old, young] = [owner(1), owner(2)];
  await old.put(["n"], bytes("10"));
  assert.equal(text(await young.get(["n"])), "10");
  await assert.rejects(old.put(["n"], bytes("11")), {
    ...refused,
    message: 'Cannot use "n" under epoch 1: an owner of epoch 2 has it',
  });
  await assert.rejects(old.get(["n"]), refused);
  await assert.rejects(old.delete(["n"]), refused);
  await assert.rejects(old.create(["n"], bytes("11")), refused);
  await assert.rejects(Array.fromAsync(old.list([])), refused);
  assert.equal(text(await young.get(["n"])), "10");
});

Deno.test("so is one under a key that the newer owner found free, or deleted", async () => {
  const { owner } = setUp();
  const [old, young] = [owner(1), owner(2)];
  assert.equal(await young.get(["free"]), null);
  await assert.rejects(old.put(["free"], bytes("late")), refused);
  assert.equal(await young.delete(["free too"]), false);
  await assert.rejects(old.create(["free too"], bytes("late")), refused);

  await old.put(["gone"], bytes("1"));
  assert.equal(await young.delete(["gone"]), true);
  await assert.rejects(old.put(["gone"], bytes("late")), refused);
  assert.equal(await young.get(["gone"]), null);

  await old.put(["taken"], bytes("1"));
  assert.equal(await young.create(["taken"], bytes("2")), null);
  await assert.rejects(old.put(["taken"], bytes("late")), refused);

  await old.put(["listed", "x"], bytes("1"));
  assert.equal((await Array.fromAsync(young.list(["listed"]))).length, 1);
  await assert.rejects(old.put(["listed", "x"], bytes("late")), refused);
});

Deno.test("a compare-and-set that an old owner began fails after the newer one has read", async () => {
  const { owner } = setUp();
  const [old, young] = [owner(1), owner(2)];
  await old.put(["n"], bytes("10"));
  const seen = (await old.get(["n"]))!.revision;
  assert.equal(text(await young.get(["n"])), "10");
  assert.equal(await old.update(["n"], bytes("11"), seen), null);
});

Deno.test("an owner stamps a key once", async () => {
  const { owner, written } = setUp();
  await owner(1).put(["n"], bytes("10"));
  const young = owner(2);
  written.length = 0;
  for (let i = 0; i < 3; i++) await young.get(["n"]);
  for (let i = 0; i < 3; i++) await young.get(["free"]);
  for (let i = 0; i < 3; i++) await Array.fromAsync(young.list([]));
  assert.deepEqual(written, ["update", "create"]);
});

Deno.test("a delete is remembered for a day", async () => {
  const { owner, clock, store } = setUp();
  await owner(1).put(["n"], bytes("1"));
  await owner(1).delete(["n"]);
  await clock.advance(86_399_999);
  assert.notEqual(await store.get(["n"]), null);
  await clock.advance(1);
  assert.equal(await store.get(["n"]), null);
});

Deno.test("a value keeps its deadline when a new owner stamps it", async () => {
  const { owner, clock } = setUp();
  await owner(1).put(["n"], bytes("1"), { ttl: 10_000 });
  await clock.advance(6_000);
  assert.equal(text(await owner(2).get(["n"])), "1");
  await clock.advance(3_999);
  assert.equal(text(await owner(2).get(["n"])), "1");
  await clock.advance(1);
  assert.equal(await owner(2).get(["n"]), null);
});

Deno.test("what was written before the flow was elected counts as the oldest epoch", async () => {
  const { owner, store } = setUp();
  await store.put(["n"], bytes("before"));
  assert.equal(text(await owner(1).get(["n"])), "before");
  await assert.rejects(owner(0.5).get(["n"]), refused);
});

Deno.test("without a term nothing is read or written", async () => {
  const { clock, store } = setUp();
  const view = fenced(store, () => null, clock);
  await assert.rejects(view.put(["n"], bytes("1")), {
    ...refused,
    message: 'Cannot use "n" without owning the flow',
  });
  await assert.rejects(view.get(["n"]), refused);
  assert.equal(store.size, 0);
});

Deno.test("keys outside the flow's room pass as they are", async () => {
  const { clock, store } = setUp();
  const view = (epoch: number) => fenced(store, () => termOf(epoch), clock, ["flow", "a"]);
  await view(9).put(["shared", "x"], bytes("1"));
  await view(9).put(["flow", "a", "x"], bytes("1"));
  assert.equal(text(await store.get(["shared", "x"])), "1");
  assert.equal(text(await view(1).get(["shared", "x"])), "1");
  assert.equal((await Array.fromAsync(view(9).list([]))).length, 2);
  assert.equal(await view(1).delete(["shared", "x"]), true);
  await assert.rejects(view(1).get(["flow", "a", "x"]), refused);
});

Deno.test("a flow that is elected no longer finds its values without their stamps", async () => {
  const { owner, store } = setUp();
  await owner(5).put(["n"], bytes("10"));
  await owner(5).put(["gone"], bytes("10"));
  await owner(5).delete(["gone"]);
  const plain = unstamped(store);
  assert.equal(text(await plain.get(["n"])), "10");
  assert.equal(await plain.get(["gone"]), null);
  assert.deepEqual((await Array.fromAsync(plain.list([]))).map(text), ["10"]);
  assert.equal(await plain.delete(["gone"]), false);
  assert.notEqual(await plain.create(["gone"], bytes("11")), null);
  assert.equal(await plain.create(["gone"], bytes("12")), null);
  assert.equal(text(await store.get(["gone"])), "11");
});
