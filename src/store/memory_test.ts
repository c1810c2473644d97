import assert from "node:assert/strict";
import { TestClock } from "../core/clock.ts";
import { MemoryStore } from "./memory.ts";
import { testStore } from "./testing.ts";

testStore("memory", ({ clock }) => new MemoryStore({ clock }));

Deno.test("memory: entries that expired unread do not pile up", async () => {
  const clock = new TestClock();
  await using store = new MemoryStore({ clock });
  for (let i = 0; i < 10_000; i++) {
    await store.put(["seen", String(i)], new Uint8Array(1), { ttl: 1_000 });
    if (i % 100 === 0) await clock.advance(1_000);
  }
  assert.ok(store.size < 1_000, `${store.size} entries are kept`);
});
