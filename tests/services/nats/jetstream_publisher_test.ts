/** What `nats_jetstream_publisher` promises, against a real server. */
import type { Msg } from "@nats-io/nats-core";
import assert from "node:assert/strict";
import { sync } from "../../../src/engine/testing.ts";
import { HandSource } from "../../../src/engine/testing.ts";
import type { Data, FlowEvent } from "../../../src/flow/event.ts";
import { testEvent } from "../../../src/flow/testing.ts";
import type { TaskEntry } from "../../../src/flow/flow.ts";
import { natsJetstreamPublisher } from "../../../src/tasks/nats/jetstream_publisher.ts";
import { natsJetstreamSubscriber } from "../../../src/tasks/nats/jetstream_subscriber.ts";
import { type Client, client, flow, until } from "./flows.ts";
import { task } from "./flows.ts";
import { type NatsServer, type NatsServerOptions, startNats } from "./server.ts";

interface Given extends Client {
  readonly server: NatsServer;
  readonly url: string;
}

async function given(options: NatsServerOptions = {}): Promise<Given> {
  const server = await startNats(options);
  const own = await client(server.url);
  await own.manager.streams.add({ name: "S", subjects: ["out.>"] });
  return {
    ...own,
    server,
    url: server.url,
    async [Symbol.asyncDispose]() {
      await own[Symbol.asyncDispose]();
      await server[Symbol.asyncDispose]();
    },
  };
}

/** Sends events through the publisher; what comes out, or the errors. */
async function publishing(
  url: string,
  config: Record<string, unknown>,
  options: Partial<TaskEntry> = {},
) {
  const source = new HandSource();
  const out: FlowEvent[] = [];
  const running = await flow(
    source.task("in"),
    task(natsJetstreamPublisher, { url, subject: "out.a", ...config }, { name: "pub", ...options }),
    sync("last", (event) => void out.push(event)),
  );
  return {
    out,
    running,
    /** `null`, or the code and text of what failed. */
    async send(data: Data, more: Parameters<typeof testEvent>[1] = {}) {
      const outcome = await source.output.deliver(testEvent(data, more));
      if (outcome.ok) return null;
      const { code, message } = outcome.cause as { code: string; message: string };
      return [code, message];
    },
    [Symbol.asyncDispose]: () => running[Symbol.asyncDispose](),
  };
}

const once = { retry: { max_attempts: 1, initial_backoff: 1, max_backoff: 1 } };

Deno.test("the next data says where the message is", async () => {
  await using it = await given();
  await using way = await publishing(it.url, {});
  assert.equal(await way.send({ a: 1 }), null);
  assert.equal(await way.send({ a: 2 }), null);
  assert.deepEqual(way.out.map(({ data, subject, id }) => ({ data, subject, id })), [
    {
      data: { stream: "S", sequence: 1, domain: "", duplicate: false },
      subject: "pub",
      id: undefined,
    },
    {
      data: { stream: "S", sequence: 2, domain: "", duplicate: false },
      subject: "pub",
      id: undefined,
    },
  ]);
});

Deno.test("data goes out as compact JSON, bytes as they are", async () => {
  await using it = await given();
  await using way = await publishing(it.url, {});
  await way.send({ a: [1, "ü"] });
  await way.send(new Uint8Array([0, 255]));
  await way.send(null);
  const stored = async (seq: number) => (await it.manager.streams.getMessage("S", { seq }))!;
  assert.equal((await stored(1)).string(), '{"a":[1,"ü"]}');
  assert.deepEqual([...(await stored(2)).data], [0, 255]);
  assert.equal((await stored(3)).string(), "null");
});

Deno.test("subject, headers and message id come from the event", async () => {
  await using it = await given();
  await using way = await publishing(it.url, {
    subject: "out.{{event.data.to}}",
    headers: { "Color": "{{event.data.color}}", "N": 3 },
    msg_id: "id-{{event.data.n}}",
  });
  assert.equal(await way.send({ to: "x.y", color: "red", n: 7 }), null);
  const message = (await it.manager.streams.getMessage("S", { seq: 1 }))!;
  assert.equal(message.subject, "out.x.y");
  assert.deepEqual([...message.header!].map(([name, values]) => [name, ...values]).sort(), [
    ["Color", "red"],
    ["Flowgen-Correlation-Id", "00000000-0000-7000-8000-000000000000"],
    ["N", "3"],
    ["Nats-Msg-Id", "id-7"],
  ]);
});

Deno.test("a message whose id the stream knows is stored once", async () => {
  await using it = await given();
  await using way = await publishing(it.url, {});
  await way.send(1, { id: "a" });
  await way.send(1, { id: "a" });
  assert.deepEqual(way.out.map(({ data }) => (data as { duplicate: boolean }).duplicate), [
    false,
    true,
  ]);
  assert.equal((await it.manager.streams.info("S")).state.messages, 1);
});

Deno.test("many messages are on their way before the first is acknowledged", async () => {
  await using it = await given();
  const waiting: Msg[] = [];
  // In place of a stream, so that it takes its time.
  const stream = it.connection.subscribe("slow", { callback: (_, one) => void waiting.push(one) });
  await it.connection.flush();
  const source = new HandSource();
  await using _ = await flow(
    source.task("in"),
    task(natsJetstreamPublisher, { url: it.url, subject: "slow" }, { name: "pub" }),
  );
  let done = 0;
  const all = 300;
  for (let n = 0; n < all; n++) source.output.emit(testEvent(n), ({ ok }) => void (done += +ok));
  // One whose acknowledgement takes too long is sent again.
  const sent = () => new Set(waiting.map((one) => one.string())).size;
  await until("256 are on their way", () => sent() === 256);
  assert.equal(done, 0);
  await until("all are acknowledged", () => {
    for (const one of waiting.splice(0)) one.respond('{"stream":"F","seq":1}');
    return done === all;
  });
  stream.unsubscribe();
});

Deno.test("messages go out in the order of the events", async () => {
  await using it = await given();
  const source = new HandSource({ ordered: true });
  await using _ = await flow(
    source.task("in"),
    // What has to be sent again comes after others, rightly.
    task(natsJetstreamPublisher, { url: it.url, subject: "out.a", ack_timeout: "1m" }, {
      name: "pub",
    }),
  );
  let done = 0;
  for (let n = 0; n < 1_000; n++) {
    const pause = source.output.emit(testEvent(n), ({ ok }) => void (done += ok ? 1 : 0));
    if (pause) await pause;
  }
  await until("all are stored", () => done === 1_000);
  const seen: unknown[] = [];
  await using __ = await flow(
    task(natsJetstreamSubscriber, { url: it.url, subject: "out.>" }),
    sync("last", ({ data }) => void seen.push(data)),
  );
  await until("all came", () => seen.length === 1_000);
  assert.deepEqual(seen, Array.from({ length: 1_000 }, (_, n) => n));
});

Deno.test("a message over the server's limit fails at once, with both sizes", async () => {
  await using it = await given({ maxPayload: 1_000 });
  await using way = await publishing(it.url, { headers: { A: "b" } });
  const correlation = "Flowgen-Correlation-Id: 00000000-0000-7000-8000-000000000000\r\n".length;
  const size = "NATS/1.0\r\n".length + correlation + "A: b\r\n".length + 2 + 1_000;
  assert.deepEqual(await way.send(new Uint8Array(1_000)), [
    "nats.message_too_large",
    `Cannot publish to "out.a": the message has ${size} bytes and the server takes 1000`,
  ]);
  // One that just fits shows that the size is counted as the server does.
  assert.equal(await way.send(new Uint8Array(1_000 - (size - 1_000))), null);
  assert.equal(
    (await way.send(new Uint8Array(1_000 - (size - 1_000) + 1)))?.[0],
    "nats.message_too_large",
  );
});

Deno.test("a subject that no stream takes is tried again until one does", async () => {
  await using it = await given();
  await using hasty = await publishing(it.url, { subject: "other.a" }, once);
  assert.deepEqual(await hasty.send(1), [
    "nats.no_stream",
    'Cannot publish to "other.a": no stream takes it',
  ]);
  await using way = await publishing(it.url, { subject: "other.a" });
  const sent = way.send(1);
  await it.manager.streams.add({ name: "O", subjects: ["other.>"] });
  assert.equal(await sent, null);
});

Deno.test("a stream other than the expected one takes nothing", async () => {
  await using it = await given();
  await using way = await publishing(it.url, { expected_stream: "T" }, once);
  const [code, message] = (await way.send(1))!;
  assert.equal(code, "nats.refused");
  assert.equal(message, 'Cannot publish to "out.a": expected stream does not match');
});

Deno.test("a subject made of an event has to be one", async () => {
  await using it = await given();
  await using way = await publishing(it.url, { subject: "out.{{event.data}}" });
  assert.deepEqual(await way.send("a b"), [
    "nats.subject_invalid",
    'Cannot publish to the subject "out.a b"',
  ]);
  assert.equal((await way.send(">"))?.[0], "nats.subject_invalid");
  assert.equal((await way.send(""))?.[0], "nats.subject_invalid");
});

Deno.test("a header that cannot be sent is named, without its value", async () => {
  await using it = await given();
  await using way = await publishing(it.url, { headers: { X: "{{event.data}}" } });
  assert.deepEqual(await way.send("secret\r\nY: 1"), [
    "event.header_invalid",
    'Cannot send the header "X"',
  ]);
});

Deno.test("the stream is made before the first event, and again when it went", async () => {
  await using it = await given();
  const stream = { name: "N", create_or_update: true, max_age: "1h" };
  await using way = await publishing(it.url, { subject: "new.a", stream });
  const there = () => it.manager.streams.info("N").then(({ config }) => config, () => null);
  assert.equal(await there(), null);
  await way.send(1);
  const config = await there();
  assert.deepEqual([config!.subjects, config!.max_age], [["new.a"], 3_600e9]);
  await it.manager.streams.delete("N");
  assert.equal(await way.send(2), null);
  assert.equal((await it.manager.streams.info("N")).state.messages, 1);
});

Deno.test("a stream that must be there is looked for before anything is published", async () => {
  await using it = await given();
  await using way = await publishing(it.url, { stream: { name: "T" } }, once);
  assert.deepEqual(await way.send(1), ["nats.stream_missing", 'There is no stream "T"']);
  assert.equal((await it.manager.streams.info("S")).state.messages, 0);
});

Deno.test("a stream without subjects cannot be made for subjects that depend on the event", async () => {
  await using it = await given();
  const stream = { name: "N", create_or_update: true };
  await using way = await publishing(it.url, { subject: "new.{{event.data}}", stream }, once);
  assert.deepEqual(await way.send("a"), [
    "config.missing_key",
    'Cannot create the stream "N" without subjects',
  ]);
});

Deno.test("what is published while the server is away arrives when it is back", async () => {
  await using it = await given();
  await using way = await publishing(it.url, { ack_timeout: "1s" });
  assert.equal(await way.send(1, { id: "one" }), null);
  await it.server.stop();
  const sent = way.send(2, { id: "two" });
  await it.server.start();
  assert.equal(await sent, null);
  // Its own connection may be the last to come back.
  await until("it is connected", () => it.connection.flush().then(() => true));
  await until(
    "both are stored",
    async () => (await it.manager.streams.info("S")).state.messages === 2,
  );
});
