import assert from "node:assert/strict";
import { jetstreamManager } from "@nats-io/jetstream";
import { systemClock, TestClock } from "../../../src/core/clock.ts";
import { FlowError, isTransient } from "../../../src/core/errors.ts";
import type { Key, Revision, Store } from "../../../src/flow/store.ts";
import { acquireNats } from "../../../src/nats/connect.ts";
import { openNatsKv } from "../../../src/store/nats_kv.ts";
import { type Proxy, startProxy } from "./proxy.ts";
import { startNats, startNatsCluster, until } from "./server.ts";
import { steadily } from "./steadily.ts";

const LIMIT = 60_000;
const bytes = (text: string) => new TextEncoder().encode(text);
const text = async (store: Store, key: Key) => {
  const entry = await store.get(key);
  return entry && new TextDecoder().decode(entry.value);
};

interface Given {
  readonly proxy: Proxy;
  /** Its connection goes through the proxy. */
  readonly store: Store;
  /** Its connection does not. */
  readonly other: Store;
  /** What `a` held at first. */
  readonly seen: Revision;
}

/** Calls give up after a while, so that a machine that stands still longer decides how they end. */
const STILL = 1_000;

function testFault(sentence: string, run: (given: Given) => Promise<void>): void {
  Deno.test(`nats_kv: ${sentence}`, () =>
    steadily(STILL, async (watch) => {
      await using server = await startNats();
      await watch(server.url);
      await using proxy = startProxy(server.port);
      const open = (url: string) => openNatsKv({ nats: { url }, bucket: "b", clock: systemClock });
      await using other = await open(server.url);
      const seen = await other.put(["a"], bytes("first"));
      await using store = await open(proxy.url);
      await run({ proxy, store, other, seen });
    }));
}

/** Lets a write happen whose answer gets lost with its connection. */
async function unanswered<T>(
  { proxy, other }: Given,
  write: () => Promise<T>,
  happened: (other: Store) => Promise<boolean>,
): Promise<T> {
  proxy.hold("to_client");
  const writing = write();
  writing.catch(() => {}); // looked at below
  await until(() => happened(other), LIMIT, "the write does not happen");
  proxy.cut();
  return await writing;
}

/** Loses a write, with its connection, before the server has it; `meanwhile` someone else writes. */
async function undelivered<T>(
  { proxy }: Given,
  write: () => Promise<T>,
  meanwhile: () => Promise<unknown> = async () => {},
): Promise<T> {
  proxy.hold("to_server");
  const before = proxy.received;
  const writing = write();
  writing.catch(() => {}); // looked at below
  await until(() => proxy.received > before, LIMIT, "nothing is sent");
  await meanwhile();
  proxy.cut();
  return await writing;
}

testFault("an update whose answer is lost has won", async (given) => {
  const { store, other, seen } = given;
  const revision = await unanswered(
    given,
    () => store.update(["a"], bytes("second"), seen),
    async () => await text(other, ["a"]) === "second",
  );
  assert.equal(revision, (await other.get(["a"]))!.revision);
});

testFault("a create, a put and a delete whose answers are lost have happened", async (given) => {
  const { store, other } = given;
  const created = await unanswered(
    given,
    () => store.create(["b"], bytes("new")),
    async () => await text(other, ["b"]) === "new",
  );
  assert.equal(created, (await other.get(["b"]))!.revision);
  const put = await unanswered(
    given,
    () => store.put(["b"], bytes("newer")),
    async () => await text(other, ["b"]) === "newer",
  );
  assert.equal(put, (await other.get(["b"]))!.revision);
  const deleted = await unanswered(
    given,
    () => store.delete(["b"], put),
    async () => await other.get(["b"]) === null,
  );
  assert.equal(deleted, true);
});

testFault(
  "an update whose answer is lost has won, also if someone wrote over it",
  async (given) => {
    const { store, other, seen } = given;
    let between: Revision | undefined;
    const revision = await unanswered(
      given,
      () => store.update(["a"], bytes("second"), seen),
      async () => {
        const entry = (await other.get(["a"]))!;
        if (entry.revision === seen) return false;
        between = entry.revision;
        return await other.update(["a"], bytes("third"), between) !== null;
      },
    );
    assert.equal(revision, between);
    assert.equal(await text(other, ["a"]), "third");
  },
);

testFault("an update that was lost on its way is sent again", async (given) => {
  const { store, other, seen } = given;
  const revision = await undelivered(given, () => store.update(["a"], bytes("second"), seen));
  assert.deepEqual(await other.get(["a"]), { key: ["a"], value: bytes("second"), revision });
  const created = await undelivered(given, () => store.create(["b"], bytes("new")));
  assert.equal((await other.get(["b"]))!.revision, created);
});

testFault("an update that was lost on its way loses to one that came first", async (given) => {
  const { store, other, seen } = given;
  const revision = await undelivered(
    given,
    () => store.update(["a"], bytes("mine"), seen),
    () => other.update(["a"], bytes("theirs"), seen),
  );
  assert.equal(revision, null);
  assert.equal(await text(store, ["a"]), "theirs");
});

testFault("what cannot be known is not claimed", async (given) => {
  const { store, other, seen } = given;
  const unknown = {
    code: "store.unavailable",
    remedy: "retry",
    message: "Cannot tell whether the store has written a value",
  };
  // A put may have come before or after the other one.
  await assert.rejects(undelivered(given, () => store.put(["b"], bytes("mine"))), unknown);
  assert.equal(await other.get(["b"]), null);
  // Ours may have come right before this put, and be gone from the history.
  const blind = () => other.put(["a"], bytes("theirs"));
  await assert.rejects(
    undelivered(given, () => store.update(["a"], bytes("mine"), seen), blind),
    unknown,
  );
});

testFault("a large value whose write fails leaves the old one whole", async (given) => {
  const { proxy, store, other } = given;
  const value = new Uint8Array(3_000_000).map((_, i) => i % 251);
  await store.put(["large"], value);
  const before = proxy.received;
  // Without an answer it cannot be over too soon.
  proxy.hold("to_client");
  const writing = store.put(["large"], new Uint8Array(13_000_000));
  writing.catch(() => {});
  await until(() => proxy.received > before + 1_000_000, LIMIT, "nothing is sent");
  proxy.refuse();
  await assert.rejects(writing, { code: "store.unavailable" });
  assert.deepEqual((await other.get(["large"]))!.value, value);
  proxy.heal();
});

Deno.test("nats_kv: calls wait for a server that comes back, and give up on one that does not", async () => {
  await steadily(STILL, async (watch) => {
    await using server = await startNats();
    await watch(server.url);
    const nats = { url: server.url };
    await using store = await openNatsKv({ nats, bucket: "b", clock: systemClock });
    await using lease = await acquireNats(nats);
    await store.put(["a"], bytes("one"));
    await server.kill();
    // Before that, a put may be on its way, and nobody can tell whether it arrived.
    await until(() => lease.trouble !== null, LIMIT, "the loss goes unnoticed");
    const waiting = [text(store, ["a"]), store.put(["b"], bytes("two"))] as const;
    for (const one of waiting) one.catch(() => {}); // looked at below
    await server.start();
    assert.equal(await waiting[0], "one");
    await waiting[1];
    await server.stop();
    await assert.rejects(store.get(["a"]), {
      code: "store.unavailable",
      message: `Cannot reach NATS at ${server.url}: the connection was lost`,
    });
  });
});

/** Of a call that failed: whether it may be made again. */
function isNotYet(cause: unknown): false {
  assert.ok(isTransient(cause), String(cause));
  return false;
}

/** Reads a watch until what it stands for has changed. */
async function hear(
  nudges: AsyncIterator<Key | null>,
  changed: () => Promise<boolean>,
): Promise<void> {
  let late = 0;
  const limit = new Promise<never>((_, reject) => {
    late = +setTimeout(() => reject(new Error("the watch hears nothing")), LIMIT);
  });
  try {
    while (!await changed()) {
      const { done } = await Promise.race([nudges.next(), limit]);
      assert.notEqual(done, true, "the watch ended");
    }
  } finally {
    clearTimeout(late);
  }
}

Deno.test("nats_kv: a watch hears what was written while its connection was away", async () => {
  await using server = await startNats();
  await using proxy = startProxy(server.port);
  // A clock that stands still, so that the look at every minute does not help.
  const open = (url: string) => openNatsKv({ nats: { url }, bucket: "b", clock: new TestClock() });
  await using store = await open(proxy.url);
  await using other = await open(server.url);
  const stop = new AbortController();
  const nudges = store.watch(["a"], stop.signal)[Symbol.asyncIterator]();
  await nudges.next();
  proxy.refuse();
  await other.put(["a"], bytes("away"));
  proxy.heal();
  await hear(nudges, async () => await text(store, ["a"]) === "away");
  stop.abort();
});

Deno.test("nats_kv: a watch goes on after the server was killed and started again", async () => {
  await using server = await startNats();
  const nats = { url: server.url };
  await using store = await openNatsKv({ nats, bucket: "b", clock: new TestClock() });
  const stop = new AbortController();
  const nudges = store.watch([], stop.signal)[Symbol.asyncIterator]();
  for (const round of ["one", "two"]) {
    await server.kill();
    await server.start();
    // Written as soon as it can be, whether the watch is back or not.
    await until(() => store.put(["a"], bytes(round)).then(() => true, isNotYet), LIMIT, "no write");
    await hear(nudges, async () => await text(store, ["a"]) === round);
  }
  stop.abort();
});

Deno.test("nats_kv: a watch does not rely on what the server keeps over a broken connection", async () => {
  await using server = await startNats();
  await using proxy = startProxy(server.port);
  const nats = { url: proxy.url };
  await using store = await openNatsKv({ nats, bucket: "b", clock: new TestClock() });
  await using lease = await acquireNats({ url: server.url });
  const { consumers } = await jetstreamManager(lease.connection);
  const names = async () => (await Array.fromAsync(consumers.list("KV_b"))).map(({ name }) => name);
  const stop = new AbortController();
  const nudges = store.watch(["a"], stop.signal)[Symbol.asyncIterator]();
  await nudges.next();
  const before = await names();
  proxy.cut();
  await until(
    async () => (await names()).some((name) => !before.includes(name)),
    LIMIT,
    "no other",
  );
  stop.abort();
});

Deno.test("nats_kv: a watch whose consumer was removed notices by itself", async () => {
  await using server = await startNats();
  const nats = { url: server.url };
  await using store = await openNatsKv({ nats, bucket: "b", clock: new TestClock() });
  await using lease = await acquireNats(nats);
  const { consumers } = await jetstreamManager(lease.connection);
  const stop = new AbortController();
  const nudges = store.watch(["a"], stop.signal)[Symbol.asyncIterator]();
  await nudges.next();
  const [consumer] = await Array.fromAsync(consumers.list("KV_b"));
  await consumers.delete("KV_b", consumer!.name);
  await store.put(["a"], bytes("unheard"));
  // What was still to be told from before does not count.
  await hear(nudges, async () => {
    const [other] = await Array.fromAsync(consumers.list("KV_b"));
    return other !== undefined && other.name !== consumer!.name;
  });
  stop.abort();
});

Deno.test("nats_kv: every watcher looks at everything once a minute", async () => {
  await using server = await startNats();
  const clock = new TestClock();
  await using store = await openNatsKv({ nats: { url: server.url }, bucket: "b", clock });
  const stop = new AbortController();
  const watches = ["a", "b"].map((room) => {
    return [room, store.watch([room], stop.signal)[Symbol.asyncIterator]()] as const;
  });
  // Until the last change was heard one by one: then it listens to both, and nothing more is to come.
  for (const [room, watch] of watches.toReversed()) {
    for (let n = 0, heard: Key | null | undefined = null; heard?.[1] !== `${n}`;) {
      const key = [room, `${++n}`];
      await store.put(key, bytes("x"));
      do heard = (await watch.next()).value; while (heard && heard[1] !== key[1]);
    }
  }
  for (let minute = 0; minute < 2; minute++) {
    const heard = watches.map(([, watch]) => watch.next());
    await clock.advance(60_000);
    for (const one of heard) assert.deepEqual(await one, { value: null, done: false });
  }
  stop.abort();
});

Deno.test("nats_kv: watches of one store share a consumer that covers them", async () => {
  await using server = await startNats();
  const nats = { url: server.url };
  await using store = await openNatsKv({ nats, bucket: "b", clock: systemClock });
  await using lease = await acquireNats(nats);
  const { consumers } = await jetstreamManager(lease.connection);
  const filters = async () => {
    const all = await Array.fromAsync(consumers.list("KV_b"));
    // Those nobody reads are removed by the server after a while, and are known as such a moment late.
    return all.filter((one) => one.push_bound).map(({ config }) => config.filter_subjects);
  };
  const stop = new AbortController();
  store.watch(["a"], stop.signal);
  const inner = new AbortController();
  store.watch(["a", "x"], inner.signal);
  store.watch(["b"], stop.signal);
  const all = ["$KV.b.a", "$KV.b.a.>", "$KV.b.b", "$KV.b.b.>"];
  const shared = JSON.stringify([all]);
  await until(async () => JSON.stringify(await filters()) === shared, LIMIT, "not so");
  inner.abort();
  stop.abort();
  await until(async () => (await filters()).length === 0, LIMIT, "the consumer stays");
});

Deno.test("nats_kv: a cluster that loses its leader goes on", async () => {
  await using cluster = await startNatsCluster();
  const nats = { url: cluster.url };
  await using store = await openNatsKv({ nats, bucket: "b", replicas: 3, clock: systemClock });
  const stop = new AbortController();
  const nudges = store.watch([], stop.signal)[Symbol.asyncIterator]();
  let revision = await store.put(["n"], bytes("0"));
  const raise = async (n: number) => {
    for (let open = false;;) {
      try {
        const won = await store.update(["n"], bytes(String(n)), revision);
        if (won !== null) return void (revision = won);
        assert.ok(open, "nobody else writes");
        throw new FlowError("store.unavailable", "An attempt from before came late");
      } catch (cause) {
        assert.equal((cause as { code: string }).code, "store.unavailable");
        // It may have happened or not, or may still happen.
        open = true;
        const entry = await store.get(["n"]).catch(() => null);
        if (entry) revision = entry.revision;
        if (entry && new TextDecoder().decode(entry.value) === String(n)) return;
      }
    }
  };
  for (let n = 1; n <= 20; n++) await raise(n);
  const leader = await cluster.streamLeader("KV_b");
  await leader.kill();
  for (let n = 21; n <= 40; n++) await raise(n);
  await leader.start();
  await hear(nudges, async () => await text(store, ["n"]) === "40");
  stop.abort();
});
