import assert from "node:assert/strict";
import * as v from "valibot";
import { findingsOf } from "../core/testing.ts";
import { natsKvStore } from "./kv_store.ts";
import { natsObjectStore } from "./object_store.ts";

Deno.test("nats_kv_store refuses fields that its operation does not use, and asks for those it needs", async () => {
  const bucket = "b";
  const given = { operation: "get", bucket, revision: 1, key_prefix: "a" };
  assert.deepEqual(await findingsOf(natsKvStore, given), [
    'config.missing_key Expected "key" for "get"',
    'config.unused_key "revision" has no meaning with the operation "get"',
    'config.unused_key "key_prefix" has no meaning with the operation "get"',
  ]);
  assert.deepEqual(await findingsOf(natsKvStore, { operation: "update", bucket, key: "a" }), [
    'config.missing_key Expected "revision" for "update"',
  ]);
  assert.deepEqual(await findingsOf(natsKvStore, { operation: "list", bucket, key: "a" }), [
    'config.unused_key "key" has no meaning with the operation "list"',
  ]);
  assert.deepEqual(await findingsOf(natsKvStore, { operation: "delete", bucket, key: "a" }), []);
});

Deno.test("nats_kv_store finds a wrong key and a wrong bucket in the file", () => {
  const wrong = (config: object) =>
    v.safeParse(natsKvStore.config, { operation: "get", bucket: "b", key: "a", ...config })
      .issues?.map(({ message }) => message);
  assert.deepEqual(wrong({ key: "a b" }), ['Expected a key such as "flows.orders/intake"']);
  assert.deepEqual(wrong({ bucket: "a.b" }), ['Expected a name of letters, digits, "_" and "-"']);
  assert.equal(wrong({ key: "flows.a/b-c_d=1", bucket: "a-b_1" }), undefined);
});

Deno.test("nats_object_store refuses fields that its operation does not use", async () => {
  const bucket = "b";
  assert.deepEqual(await findingsOf(natsObjectStore, { operation: "put", bucket, as: "bytes" }), [
    'config.missing_key Expected "object" for "put"',
    'config.unused_key "as" has no meaning with the operation "put"',
  ]);
});
