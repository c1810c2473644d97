/** What `nats_jetstream_subscriber` promises, against a real server. */
import assert from "node:assert/strict";
import { headers } from "@nats-io/nats-core";
import { FlowError } from "../../../src/core/errors.ts";
import { sync } from "../../../src/engine/testing.ts";
import { isBytes, type JsonObject } from "../../../src/flow/event.ts";
import { natsJetstreamSubscriber } from "../../../src/tasks/nats/jetstream_subscriber.ts";
import { type Client, client, flow, type RunningFlow, sink, task, until } from "./flows.ts";
import { startNats } from "./server.ts";
import { steadily } from "./steadily.ts";

/** A stream `S` for `in.>`, one for dead letters, and a durable named `d`. */
async function given() {
  const server = await startNats();
  const { url } = server;
  const own = await client(url);
  await own.manager.streams.add({ name: "S", subjects: ["in.>"] });
  const subscriber = (
    config: Record<string, unknown> = {},
    options: Parameters<typeof task>[2] = {},
  ) =>
    task(
      natsJetstreamSubscriber,
      {
        url,
        subject: "in.>",
        stream: { name: "S" },
        durable_name: "d",
        backoff: ["10ms"],
        ...config,
      },
      options,
    );
  return {
    server,
    url,
    ...own,
    subscriber,
    publish: async (...data: unknown[]) => {
      for (const one of data) {
        // Its own connection may be the last to come back after a restart; the id keeps what was
        // stored, and not answered in time, from being stored twice.
        const options = { msgID: crypto.randomUUID(), timeout: 1_000 };
        await until(
          "it is published",
          () => own.jetstream.publish("in.a", JSON.stringify(one), options),
        );
      }
    },
    consumer: async () => await own.manager.consumers.info("S", "d"),
    async [Symbol.asyncDispose]() {
      await own[Symbol.asyncDispose]();
      await server[Symbol.asyncDispose]();
    },
  };
}

function nats(event: { meta: JsonObject }): JsonObject {
  return event.meta.nats as JsonObject;
}

/** All the consumer had to do is done. */
const isIdle = async ({ consumer }: Awaited<ReturnType<typeof given>>) => {
  const { num_ack_pending, num_pending } = await consumer();
  return num_ack_pending === 0 && num_pending === 0;
};

function gate() {
  const { promise, resolve } = Promise.withResolvers<void>();
  return { wait: () => promise, open: resolve };
}

Deno.test("a message is acknowledged when its delivery is done, not before", async () => {
  await using it = await given();
  const held = gate();
  const { task: last, events } = sink(held.wait);
  await using _ = await flow(it.subscriber(), last);
  await it.publish({ n: 1 });
  await until("it came", () => events.length === 1);
  assert.equal((await it.consumer()).num_ack_pending, 1);
  held.open();
  await until("it is acknowledged", async () => (await it.consumer()).ack_floor.stream_seq === 1);
  assert.deepEqual(events.map(({ data }) => data), [{ n: 1 }]);
});

Deno.test("a message that failed comes again after its backoff", async () => {
  await using it = await given();
  const { task: last, events } = sink((event) => {
    if (nats(event).deliveries === 1) throw new FlowError("http.unavailable", "Away");
  });
  await using _ = await flow(it.subscriber({ backoff: ["300ms"] }), last);
  await it.publish("x");
  await until("it came twice", () => events.length === 2);
  await until("it is done", () => isIdle(it));
  const [first, second] = events;
  assert.deepEqual([nats(first!).deliveries, nats(second!).deliveries], [1, 2]);
  assert.ok(second!.timestamp - first!.timestamp >= 290_000, "it came too early");
});

Deno.test("a delivery that takes three times ack_wait is not delivered again meanwhile", async () => {
  const ackWait = 1_000;
  await steadily(ackWait / 6, async (watch) => {
    await using it = await given();
    await watch(it.url);
    const held = gate();
    const { task: last, events } = sink(held.wait);
    await using _ = await flow(it.subscriber({ ack_wait: `${ackWait}ms` }), last);
    await it.publish("a", "b");
    await until("both came", () => events.length === 2);
    await new Promise((resolve) => setTimeout(resolve, 3 * ackWait));
    const { num_redelivered, delivered } = await it.consumer();
    const seen = [num_redelivered, delivered.consumer_seq, events.length];
    held.open();
    assert.deepEqual(seen, [0, 2, 2]);
    await until("both are done", () => isIdle(it));
  });
});

Deno.test("after max_deliver a message goes to the dead letters with all it had", async () => {
  await using it = await given();
  await it.manager.streams.add({ name: "DEAD", subjects: ["dead.>"] });
  const { task: last, events } = sink(() => {
    throw new FlowError("http.unavailable", "Nobody\nthere");
  });
  await using running = await flow(
    it.subscriber({ max_deliver: 2, dead_letter_subject: "dead.in" }),
    last,
  );
  const sent = headers();
  sent.set("Color", "red");
  sent.set("Nats-Expected-Stream", "S");
  await it.jetstream.publish("in.a", "not json", { msgID: "m1", headers: sent });
  await until("it is given up", () => isIdle(it));
  assert.equal(events.length, 2);
  const dead = await it.manager.streams.getMessage("DEAD", { seq: 1 });
  assert.equal(dead!.string(), "not json");
  const facts = Object.fromEntries([...dead!.header!].map(([name, [value]]) => [name, value]));
  assert.deepEqual(facts, {
    "Color": "red",
    "Flowgen-Msg-Id": "m1",
    "Flowgen-Flow": "test/flow",
    "Flowgen-Task": "nats_jetstream_subscriber",
    "Flowgen-Subject": "in.a",
    "Flowgen-Stream": "S",
    "Flowgen-Sequence": "1",
    "Flowgen-Deliveries": "2",
    "Flowgen-Error-Code": "http.unavailable",
    "Flowgen-Error": "Nobody there",
    "Nats-Msg-Id": facts["Nats-Msg-Id"],
  });
  assert.match(facts["Nats-Msg-Id"]!, /^S\.d\.1@\d+$/);
  assert.deepEqual(
    running.log.filter(({ level }) => level === "warning").map(({ message }) => message),
    ["A delivery failed", "A message went to the dead letters"],
  );
});

Deno.test("a message that was there each time a process ended is tried once more", async () => {
  await using it = await given();
  await it.manager.streams.add({ name: "DEAD", subjects: ["dead.>"] });
  await it.publish("poison");
  await it.manager.consumers.add("S", {
    durable_name: "d",
    ack_policy: "explicit",
    filter_subject: "in.>",
  });
  // A process that dies with the message leaves a delivery behind and nothing else.
  const other = await it.jetstream.consumers.get("S", "d");
  for (let death = 1; death <= 3; death++) {
    const message = await other.next();
    assert.equal(message!.seq, 1);
    message!.nak();
  }
  await it.publish("good");
  const { task: last, events } = sink();
  await using _ = await flow(
    it.subscriber({ max_deliver: 3, dead_letter_subject: "dead.in" }),
    last,
  );
  await until("both are off the list", () => isIdle(it));
  assert.deepEqual(events.map(({ data }) => data).toSorted(), ["good", "poison"]);
  assert.equal((await it.manager.streams.info("DEAD")).state.messages, 0);
});

Deno.test("without dead letters a message is given up with an error in the log", async () => {
  await using it = await given();
  const { task: last, events } = sink(() => {
    throw new FlowError("event.field_invalid", "Cannot read it");
  });
  await using running = await flow(it.subscriber({ on_permanent: "term" }), last);
  await it.publish("x");
  await until("it is given up", () => isIdle(it));
  assert.equal(events.length, 1);
  const [record] = running.log.filter(({ message }) => /given up/.test(message));
  assert.equal(record!.level, "error");
  assert.equal(record!.message, "A message is given up; no dead_letter_subject is set");
  assert.deepEqual(record!.fields, {
    flow: "test/flow",
    task: "nats_jetstream_subscriber",
    subject: "in.a",
    stream: "S",
    sequence: 1,
    deliveries: 1,
    code: "event.field_invalid",
    error: "Cannot read it",
  });
});

Deno.test("what is no event's fault comes again in spite of on_permanent: term", async () => {
  await using it = await given();
  const codes = ["config.x", "delivery.timeout", "http.unavailable"];
  const { task: last, events } = sink(() => {
    const code = codes[events.length - 1];
    if (code) throw new FlowError(code, "No");
  });
  await using _ = await flow(it.subscriber({ on_permanent: "term" }), last);
  await it.publish("x");
  await until("it is done", () => isIdle(it));
  assert.equal(events.length, 4);
});

Deno.test("a dead letter that no stream takes is not lost: the message comes again", async () => {
  await using it = await given();
  const { task: last, events } = sink(() => {
    throw new FlowError("event.field_invalid", "No");
  });
  await using running = await flow(
    it.subscriber({ on_permanent: "term", dead_letter_subject: "dead.in" }),
    last,
  );
  await it.publish("x");
  await until("it came again", () => events.length >= 2);
  const [record] = running.log.filter(({ message }) => /not stored as a dead letter/.test(message));
  assert.equal(record!.fields.failure, 'Cannot publish to "dead.in": no stream takes it');
  await it.manager.streams.add({ name: "DEAD", subjects: ["dead.>"] });
  await until("it is stored", () => isIdle(it));
  assert.equal((await it.manager.streams.info("DEAD")).state.messages, 1);
});

Deno.test("no more messages are asked for than max_in_flight has room for", async () => {
  await using it = await given();
  const held = gate();
  const { task: last, events } = sink(held.wait);
  await it.publish(...Array.from({ length: 20 }, (_, n) => n));
  await using _ = await flow(it.subscriber({}, { maxInFlight: 3 }), last);
  await until("three came", () => events.length === 3);
  // A round trip later there would be more.
  await it.connection.flush();
  assert.equal((await it.consumer()).num_ack_pending, 3);
  held.open();
  await until("all are done", () => isIdle(it));
  assert.deepEqual(events.map(({ data }) => data), Array.from({ length: 20 }, (_, n) => n));
});

Deno.test("bytes of the window bound what is asked for, and a larger message comes alone", async () => {
  await using it = await given();
  const held = gate();
  const { task: last, events } = sink(held.wait);
  const text = "x".repeat(600_000);
  await it.publish(text, text, text, text);
  await using _ = await flow(it.subscriber({}, { maxInFlightBytes: 500_000 }), last);
  await until("one came", () => events.length === 1);
  held.open();
  await until("all are done", () => isIdle(it));
  assert.equal(events.length, 4);
});

Deno.test("a replica that is stuck keeps nothing back from others", async () => {
  await using it = await given();
  const held = gate();
  const stuck = sink(held.wait);
  await using _ = await flow(it.subscriber({}, { maxInFlight: 1 }), stuck.task);
  await it.publish("first");
  await until("one is stuck", () => stuck.events.length === 1);
  const free = sink();
  await using __ = await flow(it.subscriber({}, { maxInFlight: 1 }), free.task);
  await it.publish(1, 2, 3, 4, 5);
  await until("the other did the rest", () => free.events.length === 5);
  assert.equal(stuck.events.length, 1);
  held.open();
  await until("all are done", () => isIdle(it));
});

Deno.test("a flow that stops gives back at once what it did not begin", async () => {
  await using it = await given();
  const first = sink();
  const one = await flow(it.subscriber({ throttle: "1h" }), first.task);
  await it.publish(1, 2, 3, 4);
  await until("all are fetched", async () => (await it.consumer()).num_pending === 0);
  await until("one is done", async () => (await it.consumer()).num_ack_pending === 3);
  assert.equal(await one.stop(), true);
  const second = sink();
  const began = performance.now();
  await using _ = await flow(it.subscriber(), second.task);
  await until("the others are done", () => isIdle(it));
  assert.deepEqual([first.events.length, second.events.length], [1, 3]);
  assert.ok(performance.now() - began < 25_000, "they waited for ack_wait");
});

Deno.test("an old generation drains while the new one has taken over", async () => {
  await using it = await given();
  const held = gate();
  const old = sink(held.wait);
  const first = await flow(it.subscriber({}, { maxInFlight: 2 }), old.task);
  await it.publish(1, 2, 3, 4);
  await until("two are under way", () => old.events.length === 2);
  const stopped = first.stop(20_000);
  const young = sink();
  await using _ = await flow(it.subscriber(), young.task);
  await until("the new one goes on", () => young.events.length === 2);
  held.open();
  assert.equal(await stopped, true);
  await until("all are acknowledged", () => isIdle(it));
  const all = [...old.events, ...young.events].map(({ data }) => data);
  assert.deepEqual(all.sort(), [1, 2, 3, 4]);
  assert.equal((await it.consumer()).delivered.consumer_seq, 4);
});

Deno.test("events bring subject, id, headers, place and correlation id of their message", async () => {
  await using it = await given();
  const { task: last, events } = sink();
  await using _ = await flow(it.subscriber(), last);
  const sent = headers();
  sent.append("Color", "red");
  sent.append("Color", "blue");
  sent.set("Flowgen-Correlation-Id", "abc-1");
  await it.jetstream.publish("in.x.y", "1", { msgID: "m1", headers: sent });
  await it.jetstream.publish("in.z", "2");
  await until("both came", () => events.length === 2);
  const [first, second] = events;
  assert.equal(first!.subject, "in.x.y");
  assert.equal(first!.id, "m1");
  assert.deepEqual(first!.meta, {
    correlation_id: "abc-1",
    nats: {
      subject: "in.x.y",
      stream: "S",
      sequence: 1,
      deliveries: 1,
      id: "m1",
      headers: {
        "Color": "red, blue",
        "Flowgen-Correlation-Id": "abc-1",
        "Nats-Msg-Id": "m1",
      },
    },
  });
  assert.equal(second!.id, undefined);
  assert.match(String(second!.meta.correlation_id), /^[0-9a-f-]{36}$/);
  assert.deepEqual(nats(second!), { subject: "in.z", stream: "S", sequence: 2, deliveries: 1 });
});

Deno.test("payload: auto reads JSON where it parses, bytes leaves everything as it is", async () => {
  await using it = await given();
  const auto = sink();
  const bytes = sink();
  await using _ = await flow(it.subscriber(), auto.task);
  await using __ = await flow(it.subscriber({ durable_name: "b", payload: "bytes" }), bytes.task);
  const messages = ['{"a":1}', "plain", "[1", "", " true", new Uint8Array([0xff, 0xfe])];
  for (const message of messages) await it.jetstream.publish("in.a", message);
  await until("all came", () => auto.events.length === 6 && bytes.events.length === 6);
  const shown = (list: typeof auto.events) =>
    list.map(({ data }) =>
      isBytes(data) ? `bytes ${new TextDecoder("latin1").decode(data)}` : data
    );
  assert.deepEqual(shown(auto.events), [
    { a: 1 },
    "bytes plain",
    "bytes [1",
    "bytes ",
    true,
    "bytes ÿþ",
  ]);
  assert.deepEqual(shown(bytes.events), [
    'bytes {"a":1}',
    "bytes plain",
    "bytes [1",
    "bytes ",
    "bytes  true",
    "bytes ÿþ",
  ]);
});

Deno.test("payload: json refuses what is none, with its text", async () => {
  await using it = await given();
  const { task: last, events } = sink();
  await using running = await flow(it.subscriber({ payload: "json", on_permanent: "term" }), last);
  await it.jetstream.publish("in.a", "plain");
  await it.jetstream.publish("in.a", "1");
  await until("both are off the list", () => isIdle(it));
  assert.deepEqual(events.map(({ data }) => data), [1]);
  const [record] = running.log.filter(({ message }) => /given up/.test(message));
  assert.equal(record!.fields.code, "event.not_json");
  assert.equal(
    record!.fields.error,
    'Cannot read the message on "in.a" as JSON: 5 bytes of something else',
  );
});

Deno.test("the flow goes on by itself when the server was restarted, and shows why it did not", async () => {
  await using it = await given();
  const { task: last, events } = sink();
  await using running = await flow(it.subscriber(), last);
  await it.publish(1);
  await until("one came", () => events.length === 1);
  await it.server.stop();
  await until("it is degraded", () => running.run.health().state === "degraded");
  assert.match(running.run.health().error!.message, /^Cannot receive from NATS: /);
  assert.equal(running.run.health().error!.code, "nats.unavailable");
  await it.server.start();
  await it.publish(2);
  await until("the next came", () => events.length >= 2);
  await until("all is done", () => isIdle(it));
  assert.deepEqual([...new Set(events.map(({ data }) => data))], [1, 2]);
});

Deno.test("a delivery that outlives a restart of the server is acknowledged after it", async () => {
  await using it = await given();
  const held = gate();
  const { task: last, events } = sink(held.wait);
  await using _ = await flow(it.subscriber({ ack_wait: "2s" }), last);
  await it.publish(1);
  await until("it came", () => events.length === 1);
  await it.server.restart();
  const since = performance.now();
  await until("twice ack_wait has passed", () => performance.now() - since > 4_000);
  held.open();
  await until("it is done", () => isIdle(it));
  assert.equal(events.length, 1);
});

Deno.test("a consumer that was deleted is made again", async () => {
  await using it = await given();
  const { task: last, events } = sink();
  await using _ = await flow(it.subscriber(), last);
  await it.publish(1);
  await until("one is done", () => isIdle(it));
  await it.manager.consumers.delete("S", "d");
  await it.publish(2);
  await until("the next came", () => events.some(({ data }) => data === 2));
});

Deno.test("a stream that was deleted is made again where the flow may", async () => {
  await using it = await given();
  const { task: last, events } = sink();
  await using _ = await flow(
    it.subscriber({ stream: { name: "S", create_or_update: true } }),
    last,
  );
  await it.publish(1);
  await until("one is done", () => isIdle(it));
  await it.manager.streams.delete("S");
  await until("it is back", () => it.consumer());
  await it.publish(2);
  await until("the next came", () => events.some(({ data }) => data === 2));
});

Deno.test("the durable is named after flow and task, and its stream is found by subject", async () => {
  await using it = await given();
  const { task: last } = sink();
  const source = task(natsJetstreamSubscriber, { url: it.url, subject: "in.b" }, {
    name: "orders",
  });
  await using _ = await flow(source, last);
  let found: string[] = [];
  await until("it is there", async () => {
    found = (await it.manager.consumers.list("S").next()).map(({ name }) => name);
    return found.length === 1;
  });
  assert.match(found[0]!, /^test_flow_orders-[0-9a-f]{8}$/);
  const { config } = await it.manager.consumers.info("S", found[0]!);
  const { filter_subject, ack_policy, ack_wait, max_ack_pending, max_deliver } = config;
  assert.deepEqual(
    [filter_subject, ack_policy, ack_wait, max_ack_pending, max_deliver],
    ["in.b", "explicit", 30e9, 65_536, -1],
  );
});

Deno.test("a consumer of another program is taken over with our settings", async () => {
  await using it = await given();
  await it.manager.consumers.add("S", {
    durable_name: "d",
    filter_subject: "in.>",
    ack_policy: "explicit",
    ack_wait: 5e9,
    max_deliver: 4,
    backoff: [1e9, 2e9],
  });
  const { task: last, events } = sink();
  await using _ = await flow(it.subscriber({ max_ack_pending: 77 }), last);
  await it.publish(1);
  await until("one came", () => events.length === 1);
  const { config } = await it.consumer();
  assert.deepEqual(
    [config.ack_wait, config.max_deliver, config.max_ack_pending, config.backoff],
    [30e9, -1, 77, undefined],
  );
});

/** Each with what was there before, and what the flow says then. */
const wrong: {
  readonly name: string;
  readonly before?: (own: Client) => Promise<unknown>;
  readonly config: Record<string, unknown>;
  readonly text: string;
  readonly hint?: string;
  readonly code: string;
}[] = [
  {
    name: "a stream that is missing",
    config: { stream: { name: "T" } },
    text: 'There is no stream "T"',
    hint: "create it, or let the task do so with stream.create_or_update: true",
    code: "nats.stream_missing",
  },
  {
    name: "a subject that no stream takes",
    config: { stream: undefined, subject: "other.>" },
    text: 'No stream takes the subject "other.>"',
    code: "nats.stream_missing",
  },
  {
    name: "a subject that several streams take",
    before: ({ manager }) => manager.streams.add({ name: "T", subjects: ["more.>"] }),
    config: { stream: undefined, subject: ">" },
    text: 'Several streams take the subject ">": "S", "T"',
    hint: "name one of them in stream.name",
    code: "nats.stream_ambiguous",
  },
  {
    name: "a stream whose subjects overlap another's",
    config: { stream: { name: "T", create_or_update: true, subjects: ["in.a"] } },
    text: 'Cannot give the stream "T" the subjects in.a: "S" takes some of them',
    hint: "a subject belongs to one stream: use that stream, or other subjects",
    code: "nats.subject_overlap",
  },
  {
    name: "a stream that is stored elsewhere",
    config: { stream: { name: "S", create_or_update: true, storage: "memory" } },
    text: 'Cannot change stream.storage of stream "S" from "file" to "memory"',
    hint: "write the old value, or make a new stream",
    code: "nats.stream_fixed",
  },
  {
    name: "a stream setting that the server refuses",
    config: {
      stream: { name: "S", create_or_update: true, max_age: "1m", duplicate_window: "1h" },
    },
    text: 'Cannot update the stream "S": duplicates window can not be larger then max age',
    code: "nats.refused",
  },
  {
    name: "a consumer that cannot be acknowledged",
    before: ({ manager }) =>
      manager.consumers.add("S", { durable_name: "d", ack_policy: "none", filter_subject: "in.>" }),
    config: {},
    text: 'Cannot change ack_policy of consumer "d" of stream "S" from "none" to "explicit"',
    hint: "use another durable_name, or delete the consumer and with it what it remembers",
    code: "nats.consumer_fixed",
  },
  {
    name: "a consumer that pushes",
    before: ({ manager }) =>
      manager.consumers.add("S", {
        durable_name: "d",
        ack_policy: "explicit",
        deliver_subject: "push",
        filter_subject: "in.>",
      }),
    config: {},
    text: 'Cannot change the kind of consumer "d" of stream "S" from "push" to "pull"',
    code: "nats.consumer_fixed",
  },
  {
    name: "a durable of another subject",
    before: ({ manager }) =>
      manager.consumers.add("S", {
        durable_name: "d",
        ack_policy: "explicit",
        filter_subject: "in.b",
      }),
    config: {},
    text: 'Cannot change the subject of consumer "d" of stream "S" from "in.b" to "in.>"',
    code: "nats.consumer_fixed",
  },
  {
    name: "another number of waiting requests",
    before: ({ manager }) =>
      manager.consumers.add("S", {
        durable_name: "d",
        ack_policy: "explicit",
        filter_subject: "in.>",
      }),
    config: { max_waiting: 7 },
    text: 'Cannot change max_waiting of consumer "d" of stream "S" from 512 to 7',
    code: "nats.consumer_fixed",
  },
];

Deno.test("what cannot be is told with names and values", async (t) => {
  for (const { name, before, config, text, hint, code } of wrong) {
    await t.step(name, async () => {
      await using it = await given();
      await before?.(it);
      await using running = await flow(it.subscriber(config), sink().task);
      await until("it is degraded", () => running.run.health().state === "degraded");
      const error = running.run.health().error!;
      assert.equal(error.message, text);
      assert.equal(error.code, code);
      if (hint) assert.equal(error.hint, hint);
    });
  }
});

Deno.test("a server without JetStream is told", async () => {
  await using server = await startNats({ jetstream: false });
  const { url } = server;
  await using running = await flow(
    task(natsJetstreamSubscriber, { url, subject: "a", stream: { name: "S" } }),
    sink().task,
  );
  await until("it is degraded", () => running.run.health().state === "degraded");
  const { code, message } = running.run.health().error!;
  assert.equal(code, "nats.no_jetstream");
  assert.equal(message, "Cannot use JetStream: the server runs without it");
});

Deno.test("two subscribers that make one stream and consumer at the same time both work", async () => {
  await using it = await given();
  const config = { stream: { name: "N", create_or_update: true }, subject: "new.>" };
  const ends = Array.from({ length: 6 }, () => sink());
  const flows = await Promise.all(ends.map(({ task }) => flow(it.subscriber(config), task)));
  await until("the stream is there", () => it.manager.streams.info("N"));
  for (let n = 0; n < 30; n++) await it.jetstream.publish("new.a", String(n));
  const count = () => ends.reduce((sum, { events }) => sum + events.length, 0);
  await until("all came", () => count() === 30);
  const states = () => new Set(flows.map(({ run }: RunningFlow) => run.health().state));
  await until("all of them work", () => states().size === 1 && states().has("running"));
  await Promise.all(flows.map((one) => one.stop()));
});

Deno.test("many messages pass once each and in order, and no reply is left open", async () => {
  await using it = await given();
  const seen: unknown[] = [];
  const count = 5_000;
  const publishing = Array.from(
    { length: count },
    (_, n) => it.jetstream.publish("in.a", String(n)),
  );
  await using running = await flow(
    it.subscriber(),
    sync("last", ({ data }) => void seen.push(data)),
  );
  await Promise.all(publishing);
  await until("all are done", async () => seen.length >= count && await isIdle(it));
  assert.deepEqual(seen, Array.from({ length: count }, (_, n) => n));
  assert.equal(running.run.health().open, 0);
});
