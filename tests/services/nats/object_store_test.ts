/** `nats_object_store` against a real server. */
import assert from "node:assert/strict";
import { jetstream, jetstreamManager } from "@nats-io/jetstream";
import type { Data, JsonObject } from "../../../src/flow/event.ts";
import { acquireNats } from "../../../src/nats/connect.ts";
import { natsObjectStore } from "../../../src/tasks/nats/object_store.ts";
import { endWithTests, type NatsServer, startNats } from "./server.ts";
import { runOn, startOn } from "./tasks.ts";

const server: NatsServer = await startNats();
endWithTests(server);

let buckets = 0;

/** An empty bucket, and the operations on it. */
function newBucket() {
  const bucket = `b${++buckets}`;
  const run = async (operation: string, config: object = {}, data?: Data) =>
    await runOn(server.url, natsObjectStore, { bucket, operation, ...config }, data) as JsonObject;
  return { bucket, run };
}

/** What is there, without the times. */
function timeless(view: JsonObject): JsonObject {
  const { modified, ...rest } = view;
  assert.match(String(modified), /^\d{4}-\d\d-\d\dT.*Z$/);
  return rest;
}

const HI = "SHA-256=j0NDRmSPa5bfid2pAcUXaxCm2Dlh3TwayItZstwyeqQ=";

Deno.test("nats_object_store writes and reads an object", async () => {
  const { run } = newBucket();
  const put = await run("put", { object: "{{event.data.path}}" }, {
    path: "a b/ä.txt",
    content: "hi",
  });
  assert.deepEqual(timeless(put), { object: "a b/ä.txt", size: 2, digest: HI });
  assert.deepEqual(timeless(await run("get", { object: "a b/ä.txt" })), {
    object: "a b/ä.txt",
    found: true,
    size: 2,
    digest: HI,
    content: "hi",
    encoding: "text",
  });
});

Deno.test("nats_object_store takes and gives bytes of many messages", async () => {
  const { run } = newBucket();
  const bytes = Uint8Array.from({ length: 3_000_000 }, (_, i) => i * 7);
  await run("put", { object: "large" }, bytes);
  const back = await run("get", { object: "large", as: "bytes" }) as unknown as Uint8Array;
  assert.ok(back instanceof Uint8Array && back.length === bytes.length);
  assert.ok(back.every((byte, i) => byte === bytes[i]));
  assert.equal((await run("get", { object: "large" })).encoding, "base64");
  await run("put", { object: "empty" }, new Uint8Array());
  assert.deepEqual(await run("get", { object: "empty", as: "bytes" }), new Uint8Array());
});

Deno.test("nats_object_store says when there is nothing", async () => {
  const { run } = newBucket();
  const nothing = { found: false, size: null, digest: null, modified: null };
  assert.deepEqual(await run("get", { object: "a" }), {
    object: "a",
    ...nothing,
    content: null,
    encoding: null,
  });
  await assert.rejects(run("get", { object: "a", as: "bytes" }), {
    code: "nats.object_missing",
    remedy: "event",
  });
  assert.deepEqual(await run("list"), { objects: [], count: 0, prefix: "" });
});

Deno.test("nats_object_store lists what is there by prefix, and deletes", async () => {
  const { run } = newBucket();
  for (const object of ["b/2", "a", "b/1", "gone"]) await run("put", { object }, { content: "hi" });
  assert.deepEqual(await run("delete", { object: "gone" }), { object: "gone", deleted: true });
  assert.deepEqual(await run("delete", { object: "gone" }), { object: "gone", deleted: false });
  assert.deepEqual(await run("delete", { object: "never" }), { object: "never", deleted: false });
  const { objects, count, prefix } = await run("list", { prefix: "b/" });
  assert.deepEqual([count, prefix], [2, "b/"]);
  assert.deepEqual((objects as JsonObject[]).map(timeless), [
    { object: "b/1", size: 2, digest: HI },
    { object: "b/2", size: 2, digest: HI },
  ]);
  assert.equal((await run("list")).count, 3);
});

Deno.test("nats_object_store keeps to max_size", async () => {
  const { run } = newBucket();
  const tooLarge = {
    code: "nats.object_too_large",
    remedy: "event",
    message: 'Cannot use the object "a": it has 1000 bytes and 999 are allowed',
  };
  const bytes = new Uint8Array(1_000);
  await assert.rejects(run("put", { object: "a", max_size: 999 }, bytes), tooLarge);
  await run("put", { object: "a", max_size: 1_000 }, bytes);
  await assert.rejects(run("get", { object: "a", max_size: 999 }), tooLarge);
});

Deno.test("nats_object_store gives nothing that is not what its digest says", async () => {
  const { bucket, run } = newBucket();
  await run("put", { object: "a" }, { content: "hi" });
  await using lease = await acquireNats({ url: server.url });
  const manager = await jetstreamManager(lease.connection);
  const { state } = await manager.streams.info(`OBJ_${bucket}`, { subjects_filter: ">" });
  const chunks = Object.keys(state.subjects!).find((subject) => subject.includes(".C."))!;
  for (const forged of ["ho", "hi, and more"]) {
    await manager.streams.purge(`OBJ_${bucket}`, { filter: chunks });
    await jetstream(lease.connection).publish(chunks, forged);
    await assert.rejects(run("get", { object: "a" }), {
      code: "nats.object_corrupt",
      remedy: "event",
      message: 'Cannot use the object "a": it is not what its digest says',
    });
  }
});

Deno.test("nats_object_store says that there is no JetStream", async () => {
  await using plain = await startNats({ jetstream: false });
  const list = runOn(plain.url, natsObjectStore, { bucket: "b", operation: "list" });
  await assert.rejects(list, {
    code: "nats.no_jetstream",
    remedy: "config",
    message: "Cannot use JetStream: the server runs without it",
  });
});

Deno.test("nats_object_store creates its bucket again when somebody took it away", async () => {
  const { bucket } = newBucket();
  const config = { bucket, operation: "put", object: "a" };
  await using task = await startOn(server.url, natsObjectStore, config);
  await task.run({ content: "hi" });
  await using lease = await acquireNats({ url: server.url });
  const manager = await jetstreamManager(lease.connection);
  await manager.streams.delete(`OBJ_${bucket}`);
  await assert.rejects(task.run({ content: "hi" }), {
    code: "nats.no_stream",
    remedy: "retry",
    message: `Cannot put in the object store "${bucket}": it is gone`,
  });
  assert.deepEqual(timeless(await task.run({ content: "hi" }) as JsonObject), {
    object: "a",
    size: 2,
    digest: HI,
  });
});
