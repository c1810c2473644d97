import assert from "node:assert/strict";
import { testHost, testView } from "../testing.ts";
import { Job } from "./job.ts";
import { prepare } from "./source.ts";

Deno.test("an event that is over asks nothing of the host any more", async () => {
  const host = testHost();
  const source = { code: "return 1", language: "js", flow: "f", task: "t" } as const;
  const limits = { timeout: 1_000, memory: 1, output: 1 };
  const script = { id: 1, source, prepared: prepare(source), host, ...limits };
  const job = new Job(script, testView({}), () => {}, () => {});
  assert.deepEqual(await job.ask(1, "put", ["a", 1]), { ok: true, text: "true" });
  job.fail(new Error("too late"));
  const refused = { ok: false, text: '"The event is over"' };
  assert.deepEqual(await job.ask(2, "put", ["b", 1]), refused);
  assert.deepEqual([...host.cache.entries.keys()], ["a"]);
});
