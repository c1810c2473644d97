/** The store in NATS KV beside the bare client of a bucket. */
import { type KV, Kvm } from "@nats-io/kv";
import { connect } from "@nats-io/transport-node";
import { systemClock } from "../src/core/clock.ts";
import type { Store } from "../src/flow/store.ts";
import { openNatsKv } from "../src/store/nats_kv.ts";
import { startNats } from "../tests/services/nats/server.ts";
import type { Row } from "./row.ts";
import type { Report, Size } from "./suites.ts";
import { inTurns, timed } from "./turns.ts";

const VALUE = new Uint8Array(300).fill(7);
const GOAL = { ratio: 0.8 };
/** The first of them warms up, and the median does not mind. */
const ROUNDS = 15;
/** Operations of a round. */
const COUNT = 500;
const HISTORY = 64;
const AT_ONCE = 64;

/** One operation of each side on a key. */
interface Sides {
  readonly raw: (kv: KV, key: string) => Promise<unknown>;
  readonly ours: (store: Store, key: string) => Promise<unknown>;
}

/** put, get, and get with a compare-and-set: one after another, and 64 at once. */
export async function benchNatsStore(size: Size): Promise<Report> {
  await using server = await startNats();
  const connection = await connect({ servers: server.url });
  try {
    // Made as the store makes its own.
    const kv = await new Kvm(connection).create("raw", { history: HISTORY });
    await using store = await openNatsKv({
      nats: { url: server.url },
      bucket: "ours",
      history: HISTORY,
      clock: systemClock,
    });
    const rows: Row[] = [];
    for (const atOnce of [1, AT_ONCE]) {
      const keys = Array.from({ length: atOnce }, (_, i) => `k${i}`);
      for (const [name, sides] of Object.entries(OPERATIONS)) {
        rows.push(await compare(name, sides, { kv, store, keys, count: size(COUNT) }));
      }
    }
    return { rows };
  } finally {
    await connection.close();
  }
}

const OPERATIONS: Readonly<Record<string, Sides>> = {
  put: {
    raw: (kv, key) => kv.put(key, VALUE),
    ours: (store, key) => store.put(["bench", key], VALUE),
  },
  get: {
    raw: (kv, key) => kv.get(key),
    ours: (store, key) => store.get(["bench", key]),
  },
  "get and update": {
    raw: async (kv, key) => await kv.update(key, VALUE, (await kv.get(key))!.revision),
    ours: async (store, key) => {
      const entry = await store.get(["bench", key]);
      return await store.update(["bench", key], VALUE, entry!.revision);
    },
  },
};

async function compare(
  name: string,
  sides: Sides,
  { kv, store, keys, count }: {
    kv: KV;
    store: Store;
    /** One for each of those that work at once. */
    keys: readonly string[];
    count: number;
  },
): Promise<Row> {
  const rate = async (run: (key: string) => Promise<unknown>) => {
    // More of them take no longer, but tell more.
    const total = keys.length === 1 ? count : count * 4;
    let left = total;
    const took = await timed(() =>
      Promise.all(keys.map(async (key) => {
        while (left-- > 0) await run(key);
      }))
    );
    return total / took * 1_000;
  };
  const rates = await inTurns(ROUNDS, {
    raw: () => rate((key) => sides.raw(kv, key)),
    ours: () => rate((key) => sides.ours(store, key)),
  });
  const how = keys.length === 1 ? "one after another" : `${keys.length} at once`;
  return { name: `NATS KV ${name}, ${how}`, ...rates, unit: "op/s", goal: GOAL };
}
