import assert from "node:assert/strict";
import { Nudges } from "./nudges.ts";

Deno.test("nudges: a watcher that reads slowly is told to look at everything, not queued for", async () => {
  const nudges = new Nudges();
  const stop = new AbortController();
  const watch = nudges.watch([], stop.signal)[Symbol.asyncIterator]();
  for (let i = 0; i < 10_000; i++) nudges.tell(["a", String(i)]);
  assert.deepEqual(await watch.next(), { value: null, done: false });
  nudges.tell(["b"]);
  assert.deepEqual(await watch.next(), { value: ["b"], done: false });
  stop.abort();
});

Deno.test("nudges: a key that changes often between two reads is told once", async () => {
  const nudges = new Nudges();
  const stop = new AbortController();
  const watch = nudges.watch(["a"], stop.signal)[Symbol.asyncIterator]();
  for (let i = 0; i < 10; i++) nudges.tell(["a", "b"]);
  nudges.tell(["elsewhere"]);
  nudges.tell(["a", "c"]);
  assert.deepEqual((await watch.next()).value, ["a", "b"]);
  assert.deepEqual((await watch.next()).value, ["a", "c"]);
  stop.abort();
});
