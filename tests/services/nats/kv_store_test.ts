/** `nats_kv_store` against a real server. */
import assert from "node:assert/strict";
import { jetstream } from "@nats-io/jetstream";
import { Kvm } from "@nats-io/kv";
import type { Data, JsonObject } from "../../../src/flow/event.ts";
import { acquireNats } from "../../../src/nats/connect.ts";
import { natsKvStore } from "../../../src/tasks/nats/kv_store.ts";
import { endWithTests, type NatsServer, startNats } from "./server.ts";
import { runOn, startOn } from "./tasks.ts";

const server: NatsServer = await startNats();
endWithTests(server);

let buckets = 0;

/** An empty bucket, and the operations on it. */
function newBucket(more: object = {}) {
  const bucket = `b${++buckets}`;
  const run = async (operation: string, config: object = {}, data?: Data) =>
    await runOn(
      server.url,
      natsKvStore,
      { bucket, operation, ...more, ...config },
      data,
    ) as JsonObject;
  return { bucket, run };
}

Deno.test("nats_kv_store creates its bucket and writes and reads a value", async () => {
  const { run } = newBucket();
  const put = await run("put", { key: "users.{{event.data.id}}" }, { id: "7", content: "hällo" });
  assert.deepEqual(put, { key: "users.7", revision: 1 });
  assert.deepEqual(await run("get", { key: "users.7" }), {
    key: "users.7",
    content: "hällo",
    encoding: "text",
    found: true,
    revision: 1,
  });
});

Deno.test("nats_kv_store says when there is nothing", async () => {
  const { run } = newBucket();
  const nothing = { key: "a", content: null, encoding: null, found: false, revision: null };
  assert.deepEqual(await run("get", { key: "a" }), nothing);
  await run("put", { key: "a" }, "x");
  await run("delete", { key: "a" });
  assert.deepEqual(await run("get", { key: "a" }), nothing);
  assert.deepEqual(await run("list"), { keys: [], count: 0, prefix: "" });
});

Deno.test("nats_kv_store writes data without a content as a whole, and bytes as they are", async () => {
  const { run } = newBucket();
  await run("put", { key: "json" }, { id: 7, content: [1] });
  assert.equal((await run("get", { key: "json" })).content, '{"id":7,"content":[1]}');
  await run("put", { key: "bytes" }, new Uint8Array([0xff, 0]));
  const { content, encoding } = await run("get", { key: "bytes" });
  assert.deepEqual([content, encoding], ["/wA=", "base64"]);
  // As it was read, so it can be written.
  await run("put", { key: "copy" }, { content: content!, encoding: encoding! });
  assert.deepEqual(await run("get", { key: "copy" }), {
    key: "copy",
    content: "/wA=",
    encoding: "base64",
    found: true,
    revision: 3,
  });
  await assert.rejects(run("put", { key: "copy" }, { content: "no!", encoding: "base64" }), {
    code: "event.field_invalid",
    remedy: "event",
  });
});

Deno.test("nats_kv_store creates only what is not there", async () => {
  const { run } = newBucket();
  const create = () => run("create", { key: "a" }, "x");
  assert.deepEqual(await create(), { key: "a", created: true, revision: 1 });
  assert.deepEqual(await create(), { key: "a", created: false, revision: null });
  await run("delete", { key: "a" });
  assert.deepEqual(await create(), { key: "a", created: true, revision: 3 });
});

Deno.test("nats_kv_store updates and deletes only the revision it was told", async () => {
  const { run } = newBucket();
  const { revision } = await run("put", { key: "a" }, "1") as { revision: number };
  const update = (revision: Data, data: string) =>
    run("update", { key: "a", revision: "{{event.data.revision}}" }, {
      revision,
      content: data,
    } as Data);
  assert.deepEqual(await update(revision, "2"), { key: "a", updated: true, revision: 2 });
  assert.deepEqual(await update(revision, "late"), { key: "a", updated: false, revision: null });
  assert.equal((await run("get", { key: "a" })).content, "2");
  assert.deepEqual(await run("delete", { key: "a", revision: 1 }), { key: "a", deleted: false });
  assert.deepEqual(await run("delete", { key: "a", revision: 2 }), { key: "a", deleted: true });
  await assert.rejects(update("x", "3"), { code: "template.cast" });
  await assert.rejects(update(0, "3"), { code: "event.field_invalid", remedy: "event" });
});

Deno.test("nats_kv_store deletes what is not there without a word", async () => {
  const { run } = newBucket();
  assert.deepEqual(await run("delete", { key: "a" }), { key: "a", deleted: true });
});

Deno.test("nats_kv_store lists keys by prefix, in order, with their values", async () => {
  const { run } = newBucket();
  for (const key of ["users.8", "users.7.name", "users.70", "other", "users"]) {
    await run("put", { key }, { content: `of ${key}` });
  }
  await run("put", { key: "users.9" }, new Uint8Array([0xff]));
  await run("put", { key: "users.6" }, "gone");
  await run("delete", { key: "users.6" });
  assert.deepEqual(await run("list"), {
    keys: ["other", "users", "users.7.name", "users.70", "users.8", "users.9"],
    count: 6,
    prefix: "",
  });
  for (
    const [key_prefix, keys] of [
      ["users.", ["users.7.name", "users.70", "users.8", "users.9"]],
      ["users.7", ["users.7.name", "users.70"]],
      ["u", ["users", "users.7.name", "users.70", "users.8", "users.9"]],
      ["none", []],
    ] as const
  ) {
    assert.deepEqual((await run("list", { key_prefix })).keys, keys);
  }
  assert.deepEqual(await run("list", { key_prefix: "users.7", include_values: true }), {
    keys: ["users.7.name", "users.70"],
    count: 2,
    prefix: "users.7",
    values: { "users.7.name": "of users.7.name", "users.70": "of users.70" },
    binary: [],
  });
  const { values, binary } = await run("list", { key_prefix: "users.9", include_values: true });
  assert.deepEqual([values, binary], [{ "users.9": "/w==" }, ["users.9"]]);
});

Deno.test("nats_kv_store publishes flows singly, as other programs see and write them", async () => {
  await using lease = await acquireNats({ url: server.url });
  const kv = await new Kvm(jetstream(lease.connection)).create("flowgen_system");
  const given = { bucket: "flowgen_system", key: "{{event.data.key}}" };
  const run = async (operation: string, config: object, data: Data = {}) =>
    await runOn(server.url, natsKvStore, { operation, ...config }, data) as JsonObject;
  await run("put", given, { key: "flows.demo/reader", content: "flow: {}\n" });
  assert.equal((await kv.get("flows.demo/reader"))!.string(), "flow: {}\n");
  await kv.put("flows.demo/writer", "flow: { name: w }\n");
  const { values } = await run("list", {
    bucket: "flowgen_system",
    key_prefix: "flows.",
    include_values: true,
  });
  assert.deepEqual(values, {
    "flows.demo/reader": "flow: {}\n",
    "flows.demo/writer": "flow: { name: w }\n",
  });
  await run("delete", given, { key: "flows.demo/reader" });
  assert.equal((await kv.get("flows.demo/reader"))!.operation, "DEL");
});

Deno.test("nats_kv_store gives a new bucket what was asked for, and takes an old one as it is", async () => {
  const { bucket, run } = newBucket({ history: 5, ttl: "1h", replicas: 1 });
  await run("put", { key: "a" }, "x");
  await runOn(server.url, natsKvStore, { bucket, operation: "put", key: "b", history: 9 }, "x");
  await using lease = await acquireNats({ url: server.url });
  const kv = await new Kvm(jetstream(lease.connection)).open(bucket);
  const { history, ttl, replicas } = await kv.status();
  assert.deepEqual({ history, ttl, replicas }, { history: 5, ttl: 3_600_000, replicas: 1 });
});

Deno.test("nats_kv_store refuses keys that NATS does not take", async () => {
  const { run } = newBucket();
  for (const key of ["a b", "", ".a", "a.", "a..b", "a*", "ä", "a>"]) {
    await assert.rejects(run("put", { key: "{{event.data.key}}" }, { key }), {
      code: "nats.key_invalid",
      remedy: "event",
      message: `Cannot use ${JSON.stringify(key)} as a key of NATS`,
      hint: 'use letters, digits, "-", "_", "/" and "=", with "." between parts',
    });
  }
});

Deno.test("nats_kv_store says how large a value may be", async () => {
  const { run } = newBucket();
  await assert.rejects(run("put", { key: "a" }, new Uint8Array(1_048_577)), {
    code: "nats.message_too_large",
    remedy: "event",
    message: 'Cannot put "a": the value has 1048577 bytes and the server takes 1048576',
  });
  await run("put", { key: "a" }, new Uint8Array(1_000_000));
});

Deno.test("nats_kv_store says that there is no JetStream", async () => {
  await using plain = await startNats({ jetstream: false });
  const put = runOn(plain.url, natsKvStore, { bucket: "b", operation: "put", key: "a" }, "x");
  await assert.rejects(put, {
    code: "nats.no_jetstream",
    remedy: "config",
    message: "Cannot use JetStream: the server runs without it",
  });
});

Deno.test("nats_kv_store creates its bucket again when somebody took it away", async () => {
  await using lease = await acquireNats({ url: server.url });
  for (const operation of ["put", "get", "list"]) {
    const { bucket } = newBucket();
    const config = { bucket, operation, ...(operation !== "list" && { key: "a" }) };
    await using task = await startOn(server.url, natsKvStore, config);
    const first = await task.run();
    await (await new Kvm(jetstream(lease.connection)).open(bucket)).destroy();
    await assert.rejects(task.run(), {
      code: "nats.no_stream",
      remedy: "retry",
      message: `Cannot ${operation} in the bucket "${bucket}": it is gone`,
    });
    assert.deepEqual(await task.run(), first);
  }
});
