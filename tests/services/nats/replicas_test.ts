/** What tasks make in a cluster of servers, and whom they ask there. */
import assert from "node:assert/strict";
import { jetstreamManager } from "@nats-io/jetstream";
import { systemClock as clock } from "../../../src/core/clock.ts";
import { testEvent } from "../../../src/flow/testing.ts";
import { acquireNats } from "../../../src/nats/connect.ts";
import { MemoryStore } from "../../../src/store/memory.ts";
import { JetStreamQueues } from "../../../src/store/queue/jetstream_queue.ts";
import { natsKvStore } from "../../../src/tasks/nats/kv_store.ts";
import { natsObjectStore } from "../../../src/tasks/nats/object_store.ts";
import { startNatsCluster } from "./server.ts";
import { startOn } from "./tasks.ts";

Deno.test("queues, buckets and object stores have the copies that are asked for", async () => {
  await using cluster = await startNatsCluster();
  const { url } = cluster;
  await using lease = await acquireNats({ url });
  const { streams } = await jetstreamManager(lease.connection);
  const copies = async (name: string) => (await streams.info(name)).config.num_replicas;

  const options = { nats: { url }, prefix: "test", store: new MemoryStore({ clock }), clock };
  await using queues = new JetStreamQueues({ ...options, replicas: 3 });
  await (await queues.open("q")).push(testEvent({}));
  assert.equal(await copies("test_queue_q"), 3);

  const object = { bucket: "o", operation: "put", object: "a", replicas: 3 };
  await using objects = await startOn(url, natsObjectStore, object);
  await objects.run({ content: "one" });
  assert.equal(await copies("OBJ_o"), 3);

  const value = { bucket: "k", key: "a", replicas: 3 };
  await using put = await startOn(url, natsKvStore, { ...value, operation: "put" });
  await put.run({ content: "one" });
  assert.equal(await copies("KV_k"), 3);

  // A copy may be behind: what was written just now must be there.
  const direct: string[] = [];
  const listening = lease.connection.subscribe("$JS.API.DIRECT.>", {
    callback: (_, { subject }) => void direct.push(subject),
  });
  await lease.connection.flush();
  await using get = await startOn(url, natsKvStore, { ...value, operation: "get" });
  const found = await get.run() as Record<string, unknown>;
  assert.equal(found.content, "one");
  await lease.connection.flush();
  assert.deepEqual(direct, []);
  listening.unsubscribe();
});
