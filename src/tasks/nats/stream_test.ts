import type { StreamConfig } from "@nats-io/jetstream";
import assert from "node:assert/strict";
import * as v from "valibot";
import { diffStream, ensureStream, joinSubjects } from "./stream.ts";
import { StreamFields } from "./stream_fields.ts";

const fields = (given: Record<string, unknown> = {}) =>
  v.parse(StreamFields, { name: "S", create_or_update: true, ...given });

/** As a server describes a stream: what is false or zero may be left out. */
const current = {
  name: "S",
  subjects: ["a.>", "b"],
  retention: "limits",
  storage: "file",
  discard: "old",
  max_age: 3_600e9,
  max_msgs: -1,
  duplicate_window: 120e9,
  deny_delete: true,
} as unknown as StreamConfig;

/** A manager with one stream; what was asked of it. */
function manager(config: StreamConfig | null) {
  const asked: unknown[] = [];
  const api = (name: string, code: number) =>
    Object.assign(new Error(name), { name: "StreamNotFoundError", code });
  const streams = {
    info: () => config ? Promise.resolve({ config }) : Promise.reject(api("no", 10059)),
    add: (wanted: unknown) => Promise.resolve(void asked.push(["add", wanted])),
    update: (name: string, wanted: unknown) =>
      Promise.resolve(void asked.push(["update", name, wanted])),
  };
  return { asked, streams: streams as never };
}

Deno.test("a stream that is as wanted is left alone", async () => {
  const same = manager(current);
  await ensureStream(
    same,
    fields({
      max_age: "1h",
      subjects: ["a.x", "b"],
      retention: "limits",
      allow_direct: false,
      deny_delete: true,
      duplicate_window: "2m",
    }),
    "a.x",
  );
  assert.deepEqual(same.asked, []);
});

Deno.test("only what differs is changed", async () => {
  const other = manager(current);
  await ensureStream(
    other,
    fields({ max_age: "2h", max_messages: 5, retention: "interest", subjects: ["c"] }),
    undefined,
  );
  assert.deepEqual(other.asked, [["update", "S", {
    max_age: 7_200e9,
    max_msgs: 5,
    retention: "interest",
    subjects: ["a.>", "b", "c"],
  }]]);
});

Deno.test("without create_or_update nothing is changed or made", async () => {
  const other = manager(current);
  await ensureStream(other, fields({ create_or_update: false, max_age: "2h" }), "a.x");
  assert.deepEqual(other.asked, []);
  const missing = manager(null);
  await assert.rejects(ensureStream(missing, fields({ create_or_update: false }), "a"), {
    code: "nats.stream_missing",
    message: 'There is no stream "S"',
  });
  assert.deepEqual(missing.asked, []);
});

Deno.test("a new stream gets the given fields in the server's units, and the task's subject", async () => {
  const missing = manager(null);
  await ensureStream(missing, fields({ max_age: "1.5s", max_bytes: "1KiB", replicas: 3 }), "a.*");
  assert.deepEqual(missing.asked, [["add", {
    max_age: 1.5e9,
    max_bytes: 1024,
    num_replicas: 3,
    name: "S",
    subjects: ["a.*"],
  }]]);
});

Deno.test("a stream that another node makes at the same time is compared with", async () => {
  const other = manager(null);
  const { streams } = other as { streams: { info: unknown; add: unknown } };
  const absent = streams.info;
  streams.add = () => {
    streams.info = () => Promise.resolve({ config: current });
    return Promise.reject(
      Object.assign(new Error("name in use"), { name: "JetStreamApiError", code: 10058 }),
    );
  };
  await ensureStream(other, fields({ max_age: "2h" }), "a.x");
  assert.deepEqual(other.asked, [["update", "S", { max_age: 7_200e9 }]]);
  // Somebody who makes and deletes it all the time is an error in the end.
  streams.info = absent;
  streams.add = () =>
    Promise.reject(
      Object.assign(new Error("name in use"), { name: "JetStreamApiError", code: 10058 }),
    );
  await assert.rejects(ensureStream(other, fields(), "a.x"), {
    message: 'Cannot create the stream "S": name in use',
  });
});

Deno.test("what the server never changes is told with both values", () => {
  const refuses = (given: Record<string, unknown>, message: string) =>
    assert.throws(() => diffStream(current, fields(given)), { code: "nats.stream_fixed", message });
  refuses(
    { storage: "memory" },
    'Cannot change stream.storage of stream "S" from "file" to "memory"',
  );
  refuses(
    { retention: "workqueue" },
    'Cannot change stream.retention of stream "S" from "limits" to "workqueue"',
  );
  refuses(
    { deny_delete: false },
    'Cannot change stream.deny_delete of stream "S" from true to false',
  );
  assert.equal(diffStream(current, fields({ deny_purge: true })).length, 1);
});

Deno.test("subjects are joined without those that others cover", () => {
  assert.equal(joinSubjects(["a.>"], []), null);
  assert.equal(joinSubjects(["a.>"], ["a.b", "a.>"]), null);
  assert.deepEqual(joinSubjects(["a.b", "a.c", "d"], ["a.*"]), ["d", "a.*"]);
  assert.deepEqual(joinSubjects(["a"], ["b", "b"]), ["a", "b"]);
});
