import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { jetstreamManager } from "@nats-io/jetstream";
import { Kvm } from "@nats-io/kv";
import { type Clock, systemClock, TestClock } from "../../../src/core/clock.ts";
import { acquireNats, type NatsLease } from "../../../src/nats/connect.ts";
import { LARGEST_VALUE } from "../../../src/flow/key.ts";
import type { Store } from "../../../src/flow/store.ts";
import { openNatsKv } from "../../../src/store/nats_kv.ts";
import { logged } from "./logged.ts";
import { type NatsServerOptions, startNats, startNatsCluster, until } from "./server.ts";

const LIMIT = 60_000;
const bytes = (text: string) => new TextEncoder().encode(text);
const text = (value: Uint8Array | undefined) => value && new TextDecoder().decode(value);

interface Given {
  readonly url: string;
  readonly lease: NatsLease;
  open(
    more?: { clock?: Clock; history?: number; replicas?: number; tombstoneTtl?: number },
  ): Promise<
    Store
  >;
}

function testBucket(
  sentence: string,
  run: (given: Given) => Promise<void>,
  options: NatsServerOptions = {},
): void {
  Deno.test(`nats_kv: ${sentence}`, async () => {
    await using server = await startNats(options);
    const { url } = server;
    await using lease = await acquireNats({ url });
    await run({
      url,
      lease,
      open: (more) => openNatsKv({ nats: lease, bucket: "b", clock: systemClock, ...more }),
    });
  });
}

async function streams({ lease }: Given) {
  return (await jetstreamManager(lease.connection)).streams;
}

/** Wire names of everything in the bucket. */
async function wires(given: Given): Promise<string[]> {
  const { state } = await (await streams(given)).info("KV_b", { subjects_filter: ">" });
  return Object.keys(state.subjects ?? {}).map((subject) => subject.slice("$KV.b.".length)).sort();
}

testBucket("a bucket is made with the settings that were asked for", async (given) => {
  await using _ = await given.open({ history: 5, tombstoneTtl: 90_000 });
  const { config } = await (await streams(given)).info("KV_b");
  assert.equal(config.max_msgs_per_subject, 5);
  assert.equal(config.num_replicas, 1);
  assert.equal(config.allow_msg_ttl, true);
  assert.equal(config.subject_delete_marker_ttl, 90e9);
  assert.deepEqual(config.subjects, ["$KV.b.>"]);
});

testBucket("a bucket with other settings is used as it is, and that is said", async (given) => {
  await new Kvm(given.lease.connection).create("b", { history: 3 });
  const records = await logged(async () => {
    await using store = await given.open({ history: 5, tombstoneTtl: 90_000 });
    await store.put(["a"], bytes("one"), { ttl: 60_000 });
    assert.equal(text((await store.get(["a"]))?.value), "one");
    await store.delete(["a"]);
  });
  assert.deepEqual(records, [{
    level: "warning",
    message: "A bucket has other settings than configured; it is used as it is",
    fields: { bucket: "b", differences: ["history is 3, not 5", "tombstone_ttl is 0s, not 90s"] },
  }]);
  assert.deepEqual(
    await logged(async () => {
      await using _ = await given.open({ history: 3, tombstoneTtl: 0 });
    }),
    [],
  );
});

testBucket("nodes that make one bucket at once all get it", async (given) => {
  const stores = await Promise.all(
    [1, 2, 3, 4, 5, 6].map((history) => given.open({ history: 1 + history % 2 })),
  );
  await stores[0]!.put(["a"], bytes("one"));
  for (const store of stores) {
    assert.equal(text((await store.get(["a"]))?.value), "one");
    await store[Symbol.asyncDispose]();
  }
});

testBucket("what nobody has taken is sent again until someone takes it", async (given) => {
  await using store = await given.open();
  await (await streams(given)).delete("KV_b");
  const writing = store.put(["a"], bytes("one"));
  await new Kvm(given.lease.connection).create("b");
  await writing;
  assert.equal(text((await store.get(["a"]))?.value), "one");
});

Deno.test("nats_kv: a name that no bucket can have is refused", async () => {
  await using server = await startNats();
  const open = openNatsKv({ nats: { url: server.url }, bucket: "a.b", clock: systemClock });
  await assert.rejects(open, {
    code: "store.bucket_invalid",
    message: 'Cannot use the bucket "a.b"',
  });
});

testBucket("without JetStream there is no bucket", async ({ open }) => {
  await assert.rejects(open(), {
    code: "nats.no_jetstream",
    message: "Cannot use JetStream: the server runs without it",
  });
}, { jetstream: false });

testBucket("other tools read and write flows and resources by their plain names", async (given) => {
  await using store = await given.open();
  const kv = await new Kvm(given.lease.connection).open("b");
  await kv.put("flows.demo/reader", "name: reader");
  await kv.put("resources.queries/x.sql", "select 1");
  assert.equal(text((await store.get(["flows", "demo/reader"]))?.value), "name: reader");
  const resources = await Array.fromAsync(store.list(["resources"]));
  assert.deepEqual(resources.map(({ key, value }) => [key, text(value)]), [
    [["resources", "queries/x.sql"], "select 1"],
  ]);
  const { revision } = (await store.get(["flows", "demo/reader"]))!;
  await store.update(["flows", "demo/reader"], bytes("name: other"), revision);
  assert.equal((await kv.get("flows.demo/reader"))?.string(), "name: other");
  await store.put(["flows", "demo/new"], bytes("name: new"));
  assert.equal((await kv.get("flows.demo/new"))?.string(), "name: new");
  await store.delete(["flows", "demo/new"]);
  assert.equal((await kv.get("flows.demo/new"))?.operation, "PURGE");
  await kv.delete("flows.demo/reader");
  assert.equal(await store.get(["flows", "demo/reader"]), null);
  assert.deepEqual(await Array.fromAsync(store.list(["flows"])), []);
});

testBucket(
  "our own rooms have dotted names, and a foreign value there is read as it is",
  async (given) => {
    await using store = await given.open();
    await store.put(["cluster", "nodes", "a.b"], bytes("x"));
    assert.deepEqual(await wires(given), ["cluster.nodes.a=2Eb"]);
    const kv = await new Kvm(given.lease.connection).open("b");
    await kv.put("cluster.nodes.c", "foreign");
    assert.equal(text((await store.get(["cluster", "nodes", "c"]))?.value), "foreign");
    // No key of ours is written like this.
    await kv.put("cluster.nodes.=zz", "foreign");
    assert.equal((await Array.fromAsync(store.list(["cluster"]))).length, 2);
  },
);

testBucket("an entry of a newer flowgen is not guessed at", async ({ lease, open }) => {
  await using store = await open();
  const { headers } = await import("@nats-io/nats-core");
  const { jetstream } = await import("@nats-io/jetstream");
  const newer = headers();
  newer.set("Flowgen-Entry", "2 something=else");
  await jetstream(lease.connection).publish("$KV.b.a", "?", { headers: newer });
  await assert.rejects(store.get(["a"]), { code: "store.record_newer", remedy: "config" });
});

testBucket(
  "the server removes what expired or was deleted, later than it is invisible",
  async (given) => {
    await using store = await given.open({ tombstoneTtl: 30_000 });
    const kept = async (key: string) => {
      const found = await (await streams(given)).getMessage("KV_b", {
        last_by_subj: `$KV.b.${key}`,
      });
      return found!.header.get("Nats-TTL");
    };
    await store.put(["a"], bytes("one"), { ttl: 10_000 });
    assert.equal(await kept("a"), "70s");
    await store.delete(["a"]);
    assert.equal(await kept("a"), "30s");
    await store.put(["b"], bytes("one"));
    assert.equal(await kept("b"), "");
  },
);

testBucket(
  "a value without a deadline does not come back when the one after it is removed",
  async (given) => {
    await using store = await given.open();
    await store.put(["a"], bytes("for good"));
    await store.put(["a"], bytes("for now"), { ttl: 10_000 });
    await store.put(["b"], bytes("for good"));
    await store.delete(["b"]);
    const { state } = await (await streams(given)).info("KV_b", { subjects_filter: ">" });
    assert.deepEqual(state.subjects, { "$KV.b.a": 1, "$KV.b.b": 1 });
  },
);

testBucket("a bucket whose server removes nothing is swept", async (given) => {
  await new Kvm(given.lease.connection).create("b", { history: 64 });
  const clock = new TestClock();
  await using store = await given.open({ clock, tombstoneTtl: 3_600_000 });
  await store.put(["expired"], bytes("x"), { ttl: 1_000 });
  await store.put(["deleted"], bytes("x"));
  await store.delete(["deleted"]);
  await store.put(["again"], bytes("x"), { ttl: 1_000 });
  await store.put(["kept"], bytes("x"));
  const sweep = () => sweeps(given, clock);
  await sweep();
  assert.equal((await wires(given)).length, 4);
  await store.put(["again"], bytes("x"));
  for (let i = 0; i < 7; i++) await sweep();
  await until(async () => (await wires(given)).length === 2, LIMIT, "nothing is removed");
  assert.deepEqual(await wires(given), ["again", "kept"]);
  assert.equal(text((await store.get(["again"]))?.value), "x");
});

/** Lets ten minutes pass, and the sweep they bring come to its end. */
async function sweeps(given: Given, clock: TestClock): Promise<void> {
  const before = clock.pending;
  await clock.advance(600_000);
  await until(() => clock.pending === before, LIMIT, "the sweep does not end");
  await given.lease.connection.flush();
}

testBucket("parts of a large value go when it is replaced, deleted or loses", async (given) => {
  const { open } = given;
  await using store = await open();
  await using other = await open();
  const large = (parts: number) => new Uint8Array(parts * 60_000);
  const parts = async () =>
    (await wires(given)).filter((wire) => wire.startsWith("=parts.")).length;
  await store.put(["a"], large(3));
  assert.equal(await parts(), 3);
  await store.put(["a"], large(5));
  assert.equal(await parts(), 5);
  await store.put(["a"], bytes("small"));
  assert.equal(await parts(), 0);
  const seen = await store.put(["a"], large(2));
  assert.equal(await store.create(["a"], large(4)), null);
  assert.equal(await store.update(["a"], large(4), "1"), null);
  assert.equal(await parts(), 2);
  // Another process knows them once it has read the value.
  await other.get(["a"]);
  assert.equal(await other.delete(["a"], seen), true);
  assert.equal(await parts(), 0);
  await Promise.all([1, 2, 3, 4].map((count) => store.put(["a"], large(1 + count))));
  const { length } = (await store.get(["a"]))!.value;
  assert.equal(await parts(), Math.ceil(length / 60_000));
}, { maxPayload: 61_024 });

testBucket("parts that nobody names are removed after a while, others are not", async (given) => {
  const clock = new TestClock();
  await using store = await given.open({ clock });
  const value = new Uint8Array(200_000).fill(1);
  await store.put(["a", "b"], value);
  const { jetstream } = await import("@nats-io/jetstream");
  // What a process leaves behind that dies between the parts and the head.
  const js = jetstream(given.lease.connection);
  for (const n of [0, 1]) await js.publish(`$KV.b.=parts.dead.${n}.a.b`, "x");
  const dead = async () => (await wires(given)).filter((wire) => wire.includes("dead")).length;
  await sweeps(given, clock);
  assert.equal(await dead(), 2);
  await sweeps(given, clock);
  await until(async () => await dead() === 0, LIMIT, "the parts stay");
  assert.deepEqual((await store.get(["a", "b"]))!.value, value);
}, { maxPayload: 65_536 });

testBucket("a value of 64 MiB is kept", async ({ open }) => {
  await using store = await open();
  const value = new Uint8Array(LARGEST_VALUE);
  for (let i = 0; i < value.length; i += 4_093) value[i] = i;
  await store.put(["a"], value);
  const entry = (await store.get(["a"]))!;
  assert.equal(entry.value.length, value.length);
  assert.equal(Buffer.compare(entry.value, value), 0);
});

Deno.test("nats_kv: with several replicas reads ask the leader, never a follower", async () => {
  await using cluster = await startNatsCluster();
  const nats = { url: cluster.url };
  await using lease = await acquireNats({ url: cluster.servers[0]!.url });
  const asked: string[] = [];
  const listening = lease.connection.subscribe("$JS.API.>", {
    callback: (_, { subject }) => void asked.push(subject.split(".").slice(2, 5).join(".")),
  });
  for (const replicas of [1, 3]) {
    const bucket = `r${replicas}`;
    await using store = await openNatsKv({ nats, bucket, replicas, clock: systemClock });
    await store.put(["a"], bytes("one"));
    // All servers know where to ask then; before, a read is tried again.
    asked.length = 0;
    await store.get(["a"]);
    await until(() => asked.some((one) => /GET/.test(one)), LIMIT, "no request is seen");
    const read = replicas === 1 ? `DIRECT.GET.KV_${bucket}` : "STREAM.MSG.GET";
    const list = `STREAM.INFO.KV_${bucket}`;
    asked.length = 0;
    await store.get(["a"]);
    await until(() => asked.includes(read), LIMIT, `${read} is not seen in ${asked}`);
    await Array.fromAsync(store.list([]));
    const last = () => asked.lastIndexOf(read);
    const listed = () => asked.includes(list) && last() > asked.indexOf(list);
    await until(listed, LIMIT, `the requests are not seen in ${asked}`);
    // One that is not answered in time is sent again, and asks the same.
    assert.deepEqual([...new Set(asked)], [read, list]);
  }
  listening.unsubscribe();
});

Deno.test("nats_kv: nodes of a cluster that make one bucket at once all get it", async () => {
  await using cluster = await startNatsCluster();
  await using stack = new AsyncDisposableStack();
  const leases: NatsLease[] = [];
  for (const { url } of cluster.servers) leases.push(stack.use(await acquireNats({ url })));
  for (let n = 0; n < 8; n++) {
    const bucket = `together${n}`;
    const stores = await Promise.all(
      leases.map((nats) => openNatsKv({ nats, bucket, replicas: 3, clock: systemClock })),
    );
    await stores[0]!.put(["a"], bytes("one"));
    for (const store of stores) {
      assert.equal(text((await store.get(["a"]))?.value), "one");
      await store[Symbol.asyncDispose]();
    }
  }
});
