/** Buckets that somebody takes away, as a server does that is started again without its disk. */
import assert from "node:assert/strict";
import { jetstreamManager } from "@nats-io/jetstream";
import { systemClock } from "../../../src/core/clock.ts";
import type { Store } from "../../../src/flow/store.ts";
import { acquireNats } from "../../../src/nats/connect.ts";
import { openNatsKv } from "../../../src/store/nats_kv.ts";
import { startNats, until } from "./server.ts";

const LIMIT = 60_000;
const bytes = (text: string) => new TextEncoder().encode(text);

interface Given {
  readonly store: Store;
  /** Takes the bucket away with all it holds. */
  readonly take: () => Promise<unknown>;
  /** Settings of the bucket that is there. */
  readonly history: () => Promise<number>;
}

function testGone(
  sentence: string,
  remakeAfter: number | undefined,
  run: (given: Given) => Promise<void>,
): void {
  Deno.test(`nats_kv: ${sentence}`, async () => {
    await using server = await startNats();
    await using lease = await acquireNats({ url: server.url });
    const { streams } = await jetstreamManager(lease.connection);
    const options = { nats: lease, bucket: "b", clock: systemClock, history: 7 };
    await using store = await openNatsKv({ ...options, remakeAfter });
    await store.put(["a"], bytes("first"));
    await run({
      store,
      take: () => streams.delete("KV_b"),
      history: async () => (await streams.info("KV_b")).config.max_msgs_per_subject,
    });
  });
}

testGone("a bucket that is gone is told as such, and may come back", undefined, async (given) => {
  const { store, take } = given;
  await take();
  const gone = {
    code: "store.unavailable",
    remedy: "retry",
    message: "Cannot use the bucket b: it is gone",
  };
  // In whichever way the server says it.
  await Promise.all([
    assert.rejects(store.get(["a"]), gone),
    assert.rejects(store.put(["a"], bytes("second")), gone),
    assert.rejects(Array.fromAsync(store.list([])), gone),
  ]);
  await assert.rejects(given.history(), /stream not found/);
});

testGone("a bucket that stays away is made again as it was", 0, async (given) => {
  const { store, take } = given;
  await take();
  assert.equal(await store.get(["a"]), null);
  assert.equal(await given.history(), 7);
  await take();
  const revision = await store.put(["a"], bytes("second"));
  assert.deepEqual((await store.get(["a"]))?.revision, revision);
  await take();
  assert.deepEqual(await Array.fromAsync(store.list([])), []);
});

testGone("a revision of a bucket that is gone means nothing in the next one", 0, async (given) => {
  const { store, take } = given;
  const { revision } = (await store.get(["a"]))!;
  await take();
  // As many writes as before.
  assert.equal(await store.get(["a"]), null);
  assert.notEqual(await store.put(["a"], bytes("first")), revision);
  assert.equal(await store.update(["a"], bytes("second"), revision), null);
});

testGone("a watch goes on in the bucket that was made again", 0, async ({ store, take }) => {
  const end = new AbortController();
  const heard: string[] = [];
  const watching = (async () => {
    for await (const key of store.watch(["room"], end.signal)) heard.push(key?.join("/") ?? "all");
  })();
  await until(() => heard.length > 0, LIMIT, "it listens");
  await take();
  await store.get(["a"]);
  await until(
    async () => {
      await store.put(["room", "one"], bytes("1"));
      return heard.includes("room/one");
    },
    LIMIT,
    "it hears of changes",
  );
  end.abort();
  await watching;
});
