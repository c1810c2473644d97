import type { ConsumerConfig } from "@nats-io/jetstream";
import assert from "node:assert/strict";
import { type ConsumerSpec, diffConsumer, ensureConsumer, wantedConfig } from "./consumer.ts";

const spec: ConsumerSpec = {
  name: "d",
  subject: "a.>",
  own: false,
  ackWait: 30_000,
  maxAckPending: 100,
  maxWaiting: undefined,
};

/** As a server describes the consumer that `spec` asks for. */
const current = {
  durable_name: "d",
  name: "d",
  filter_subject: "a.>",
  ack_policy: "explicit",
  ack_wait: 30e9,
  max_deliver: -1,
  max_ack_pending: 100,
  max_waiting: 512,
  deliver_policy: "all",
} as ConsumerConfig;

const diff = (more: Partial<ConsumerConfig>, wanted: Partial<ConsumerSpec> = {}) =>
  diffConsumer({ ...current, ...more }, "S", { ...spec, ...wanted });

Deno.test("a consumer that is as wanted is left alone", () => {
  assert.deepEqual(diff({}), []);
  assert.deepEqual(diff({}, { maxWaiting: 512 }), []);
  assert.deepEqual(diff({ headers_only: false }), []);
});

Deno.test("the server never gives a message up: deliveries are counted here", () => {
  assert.equal(wantedConfig(spec).max_deliver, -1);
  assert.deepEqual(diff({ max_deliver: 5 }), [
    { field: "max_deliver", setting: "max_deliver", from: 5, to: -1 },
  ]);
});

Deno.test("what another program set is made ours, and what is in the way is taken off", () => {
  const settings = diff({
    ack_wait: 1e9,
    max_ack_pending: 1_000,
    backoff: [1e9],
    headers_only: true,
  }).map(({ setting, to }) => [setting, to]);
  assert.deepEqual(settings, [
    ["ack_wait", 30e9],
    ["max_ack_pending", 100],
    ["headers_only", false],
    ["backoff", undefined],
  ]);
});

Deno.test("the subject of a consumer with a name of our own may change, of a given name never", () => {
  assert.deepEqual(diff({ filter_subject: "b" }, { own: true }), [
    { field: "subject", setting: "filter_subject", from: "b", to: "a.>" },
  ]);
  const message = 'Cannot change the subject of consumer "d" of stream "S" from "b" to "a.>"';
  assert.throws(() => diff({ filter_subject: "b" }), { code: "nats.consumer_fixed", message });
  assert.throws(() => diff({ filter_subject: undefined, filter_subjects: ["b", "c"] }), {
    message: 'Cannot change the subject of consumer "d" of stream "S" from "b, c" to "a.>"',
  });
});

Deno.test("a consumer that another node makes at the same time is compared with", async () => {
  const asked: unknown[] = [];
  const fail = (name: string, code: number) =>
    Promise.reject(Object.assign(new Error(name), { name, code }));
  const consumers = {
    info: () => fail("ConsumerNotFoundError", 10014),
    add() {
      this.info = () => Promise.resolve({ config: { ...current, ack_wait: 1e9 } }) as never;
      return fail("JetStreamApiError", 10148);
    },
    update: (...wanted: unknown[]) => Promise.resolve(void asked.push(wanted)),
  };
  await ensureConsumer({ consumers: consumers as never }, "S", spec);
  assert.deepEqual(asked, [["S", "d", { ack_wait: 30e9 }]]);
});
