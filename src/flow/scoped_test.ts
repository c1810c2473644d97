import assert from "node:assert/strict";
import { TestClock } from "../core/clock.ts";
import { MemoryStore } from "../store/memory.ts";
import { scoped } from "./scoped.ts";
import { testStore } from "../store/testing.ts";

const prefix = ["flow", "demo/reader"];
testStore("scoped", ({ clock }) => scoped(new MemoryStore({ clock }), prefix), {
  longestKey: 1_000 - "flow/demo/reader/".length,
});

const bytes = (text: string) => new TextEncoder().encode(text);

Deno.test("scoped: a view sees only what is below its prefix", async () => {
  await using store = new MemoryStore({ clock: new TestClock() });
  const [a, b] = [scoped(store, ["flow", "a"]), scoped(store, ["flow", "ab"])];
  await store.put(["flow", "a"], bytes("the prefix itself"));
  await a.put(["key"], bytes("of a"));
  await b.put(["key"], bytes("of ab"));
  const listed = await Array.fromAsync(a.list([]));
  assert.deepEqual(listed.map(({ key, value }) => [key, value]), [[["key"], bytes("of a")]]);
  assert.deepEqual((await store.get(["flow", "a", "key"]))?.value, bytes("of a"));
});

Deno.test("scoped: a watch hears relative keys, and not of the prefix itself", async () => {
  await using store = new MemoryStore({ clock: new TestClock() });
  const stop = new AbortController();
  const nudges = scoped(store, ["room"]).watch([], stop.signal);
  await store.put(["room"], bytes("1"));
  await store.put(["elsewhere"], bytes("1"));
  await store.put(["room", "a", "b"], bytes("1"));
  for await (const key of nudges) {
    assert.deepEqual(key, ["a", "b"]);
    stop.abort();
  }
});

Deno.test("scoped: a view of a view adds both prefixes", async () => {
  await using store = new MemoryStore({ clock: new TestClock() });
  await scoped(scoped(store, ["a"]), ["b", "c"]).put(["d"], bytes("1"));
  assert.notEqual(await store.get(["a", "b", "c", "d"]), null);
});
