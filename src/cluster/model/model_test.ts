import { checkSchedule } from "./schedule.ts";

/** More than these, and others, for longer runs: `MODEL_SCHEDULES=1000000 MODEL_SEED=7`. */
const COUNT = Number(Deno.env.get("MODEL_SCHEDULES") ?? 100_000);
const SEED = Number(Deno.env.get("MODEL_SEED") ?? 0) * 1_000_000_000;

Deno.test("never do two nodes run one flow, whatever goes wrong", () => {
  for (let i = 0; i < 0.9 * COUNT; i++) checkSchedule(SEED + i, "safe");
});

Deno.test("when nothing goes wrong any more, one node runs every flow", () => {
  for (let i = 0; i < 0.08 * COUNT; i++) checkSchedule(SEED + i, "live");
});

Deno.test("a store that was away makes nobody look gone", () => {
  for (let i = 0; i < 0.02 * COUNT; i++) checkSchedule(SEED + i, "outage");
});
