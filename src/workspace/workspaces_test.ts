import { TestClock } from "../core/clock.ts";
import { DenoKvStore } from "../store/deno_kv.ts";
import { MemoryStore } from "../store/memory.ts";
import { testWorkspaces } from "./testing.ts";

testWorkspaces("memory", () => new MemoryStore({ clock: new TestClock() }), { switches: 1_000 });
testWorkspaces("deno_kv", async () => {
  return new DenoKvStore({ kv: await Deno.openKv(":memory:"), clock: new TestClock() });
}, { switches: 100 });
