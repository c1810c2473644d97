import assert from "node:assert/strict";
import { DEFAULT_LIMITS, GREATEST_LIMITS, limitsOf } from "./limits.ts";

const MIB = 1024 * 1024;

Deno.test("limits left out are those of config.yaml, then the built-in ones", () => {
  assert.deepEqual(limitsOf(), DEFAULT_LIMITS);
  assert.deepEqual(limitsOf({ timeout: 100 }, { timeout: undefined }), {
    ...DEFAULT_LIMITS,
    timeout: 100,
  });
});

Deno.test("a task can stay below the limits of config.yaml and never go beyond", () => {
  const operator = { timeout: 1_000, memory: 200 * MIB, output: 1_000 };
  const less = { timeout: 10, memory: 64 * MIB, output: 10 };
  assert.deepEqual(limitsOf(operator, less), less);
  const more = { timeout: 9_000, memory: 1024 * MIB, output: 2_000 };
  assert.deepEqual(limitsOf(operator, more), operator);
});

Deno.test("where config.yaml sets none, a task may go beyond the built-in limits, up to the greatest", () => {
  const more = { timeout: 60_000, memory: 512 * MIB, output: 64 * MIB };
  assert.deepEqual(limitsOf({}, more), more);
  const most = { timeout: Infinity, memory: Infinity, output: Infinity };
  assert.deepEqual(limitsOf({}, most), GREATEST_LIMITS);
});

Deno.test("heaps come in few sizes", () => {
  const heap = (memory: number, ceiling?: number) =>
    limitsOf({ memory: ceiling }, { memory }).memory / MIB;
  const wanted = [1, 64, 65, 100, 128, 129, 1000, 9000];
  assert.deepEqual(wanted.map((mib) => heap(mib * MIB)), [64, 64, 128, 128, 128, 256, 1024, 4096]);
  assert.equal(heap(150 * MIB, 200 * MIB), 200);
  assert.equal(heap(16 * MIB, 32 * MIB), 32);
});
