import type { Row } from "./row.ts";
import { systemClock } from "../src/core/clock.ts";
import { DenoKvStore } from "../src/store/deno_kv.ts";

const VALUE = new Uint8Array(300).fill(7);
const GOAL = { ratio: 0.8 };
/**
 * Deno KV answers a lone get in 25 or in 100 µs, for seconds on end, depending on how its threads were
 * scheduled. Both sides take short turns on one file, so that each mood of the machine meets both.
 */
const ROUNDS = 24;

/** DenoKvStore against bare Deno KV; about five seconds. */
export async function benchStore(): Promise<Row[]> {
  const folder = await Deno.makeTempDir({ prefix: "flowgen-bench-" });
  try {
    const kv = await Deno.openKv(`${folder}/store.sqlite3`);
    await using store = new DenoKvStore({ kv, clock: systemClock });
    return await compareAll(kv, store);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

async function compareAll(kv: Deno.Kv, store: DenoKvStore): Promise<Row[]> {
  const name = (i: number) => String(i % 1_000);
  for (let i = 0; i < 1_000; i++) {
    await Promise.all([kv.set(["raw", "k", name(i)], VALUE), store.put(["k", name(i)], VALUE)]);
  }
  return [
    await compare("store put, one after another", 50, {
      raw: (count) => each(count, (i) => kv.set(["raw", "k", name(i)], VALUE)),
      ours: (count) => each(count, (i) => store.put(["k", name(i)], VALUE)),
    }),
    await compare("store get, one after another", 200, {
      raw: (count) => each(count, (i) => kv.get(["raw", "k", name(i)])),
      ours: (count) => each(count, (i) => store.get(["k", name(i)])),
    }),
    await compare("store get and update, one after another", 50, {
      raw: (count) =>
        each(count, async () => {
          const key = ["raw", "cas"];
          const { versionstamp } = await kv.get(key);
          await kv.atomic().check({ key, versionstamp }).set(key, VALUE).commit();
        }),
      ours: (count) =>
        each(count, async () => {
          const entry = await store.get(["cas"]);
          await (entry
            ? store.update(["cas"], VALUE, entry.revision)
            : store.create(["cas"], VALUE));
        }),
    }),
    await compare("store put, 100 at once", 1_000, {
      raw: (count) =>
        each(count / 100, (group) => {
          const commit = kv.atomic();
          for (let i = 0; i < 100; i++) commit.set(["raw", "g", name(group * 100 + i)], VALUE);
          return commit.commit();
        }),
      ours: (count) =>
        each(count / 100, (group) => {
          const puts = Array.from({ length: 100 }, (_, i) => {
            return store.put(["g", name(group * 100 + i)], VALUE);
          });
          return Promise.all(puts);
        }),
    }),
    await compare("store list of 1,000 keys", 1_000, {
      raw: (count) => each(count / 1_000, () => drain(kv.list({ prefix: ["raw", "g"] }))),
      ours: (count) => each(count / 1_000, () => drain(store.list(["g"]))),
    }),
  ];
}

async function each(count: number, run: (i: number) => Promise<unknown>): Promise<void> {
  for (let i = 0; i < count; i++) await run(i);
}

async function drain(entries: AsyncIterable<unknown>): Promise<void> {
  for await (const _ of entries);
}

type Side = (count: number) => Promise<void>;

/** Medians of operations per second. */
async function compare(
  name: string,
  count: number,
  sides: { raw: Side; ours: Side },
): Promise<Row> {
  const rates = { raw: [] as number[], ours: [] as number[] };
  for (let round = 0; round <= ROUNDS; round++) {
    for (const side of ["raw", "ours"] as const) {
      const start = performance.now();
      await sides[side](count);
      // The first round only warms up.
      if (round > 0) rates[side].push(count / (performance.now() - start) * 1_000);
    }
  }
  return { name, ours: median(rates.ours), raw: median(rates.raw), unit: "op/s", goal: GOAL };
}

function median(values: number[]): number {
  return Math.round(values.toSorted((a, b) => a - b)[values.length >> 1]!);
}
