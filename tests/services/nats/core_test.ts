/** What `nats_core_subscriber`, `nats_core_publisher` and `nats_request` promise. */
import assert from "node:assert/strict";
import { createInbox, headers } from "@nats-io/nats-core";
import { FlowError } from "../../../src/core/errors.ts";
import { HandSource, sync, waits } from "../../../src/engine/testing.ts";
import { type Data, derive, type FlowEvent } from "../../../src/flow/event.ts";
import type { TaskEntry } from "../../../src/flow/flow.ts";
import { testEvent } from "../../../src/flow/testing.ts";
import { Many, type TaskDefinition } from "../../../src/flow/task.ts";
import { natsCorePublisher } from "../../../src/tasks/nats/core_publisher.ts";
import { natsCoreSubscriber } from "../../../src/tasks/nats/core_subscriber.ts";
import { natsRequest } from "../../../src/tasks/nats/request.ts";
import { client, flow, sink, task, until } from "./flows.ts";
import { startNats } from "./server.ts";

async function given() {
  const server = await startNats({ jetstream: false });
  const own = await client(server.url);
  const { connection } = own;
  return {
    server,
    url: server.url,
    connection,
    subscriber: (config: Record<string, unknown>, options: Parameters<typeof task>[2] = {}) =>
      task(natsCoreSubscriber, { url: server.url, subject: "a.>", ...config }, options),
    /** The subscription of a flow is there, and got one message. */
    async heard(subject: string) {
      await until(`${subject} is heard`, async () => {
        let unheard = false;
        const reply = createInbox();
        const answers = connection.subscribe(reply, {
          callback: (_, { headers }) => void (unheard ||= headers?.code === NO_RESPONDERS),
        });
        connection.publish(subject, "", { reply });
        // That nobody is there is said before the next is answered.
        await connection.flush();
        answers.unsubscribe();
        return !unheard;
      });
    },
    async [Symbol.asyncDispose]() {
      await own[Symbol.asyncDispose]();
      await server[Symbol.asyncDispose]();
    },
  };
}

/** Sends events through one task. */
async function through(
  definition: TaskDefinition,
  config: Record<string, unknown>,
  options: Partial<TaskEntry> = {},
) {
  const source = new HandSource();
  const out: FlowEvent[] = [];
  const running = await flow(
    source.task("in"),
    task(definition, config, { name: "it", ...options }),
    sync("last", (event) => void out.push(event)),
  );
  return {
    out,
    async send(data: Data, more: Parameters<typeof testEvent>[1] = {}) {
      const outcome = await source.output.deliver(testEvent(data, more));
      if (outcome.ok) return null;
      const { code, message } = outcome.cause as { code: string; message: string };
      return [code, message];
    },
    [Symbol.asyncDispose]: () => running[Symbol.asyncDispose](),
  };
}

/** Of the message that the server sends in place of an answer. */
const NO_RESPONDERS = 503;

const once = { retry: { max_attempts: 1, initial_backoff: 1, max_backoff: 1 } };

Deno.test("what is published reaches who listens, with headers and correlation id", async () => {
  await using it = await given();
  const { task: last, events } = sink();
  await using _ = await flow(it.subscriber({}), last);
  await it.heard("a.x");
  await until("the first one came", () => events.length === 1);
  events.length = 0;
  await using way = await through(natsCorePublisher, {
    url: it.url,
    subject: "a.{{event.data.to}}",
    headers: { Color: "red" },
  });
  assert.equal(await way.send({ to: "b" }, { id: "i" }), null);
  await until("it came", () => events.length === 1);
  const [event] = events;
  assert.deepEqual([event!.data, event!.subject, event!.id], [{ to: "b" }, "a.b", undefined]);
  const correlation_id = "00000000-0000-7000-8000-000000000000";
  assert.deepEqual(event!.meta, {
    correlation_id,
    nats: { subject: "a.b", headers: { "Color": "red", "Flowgen-Correlation-Id": correlation_id } },
  });
  // The publisher passes its own event on.
  const [passed] = way.out;
  assert.deepEqual([passed!.data, passed!.subject, passed!.id], [{ to: "b" }, "it", "i"]);
});

Deno.test("a message goes to one replica of a flow, and to all without a group", async () => {
  await using it = await given();
  const [one, two, three] = [sink(), sink(), sink()];
  await using _ = await flow(it.subscriber({}), one.task);
  await using __ = await flow(it.subscriber({}), two.task);
  await using ___ = await flow(it.subscriber({ queue_group: null }), three.task);
  const all = [one, two, three];
  await until("all listen", async () => {
    it.connection.publish("a.hello");
    await it.connection.flush();
    return all.every(({ events }) => events.length > 0);
  });
  for (let n = 0; n < 50; n++) it.connection.publish("a.b", String(n));
  const counted = () => all.map(({ events }) => events.filter((e) => e.subject === "a.b").length);
  await until("all came", () => counted()[2] === 50);
  await until("all came to the group", () => counted()[0]! + counted()[1]! >= 50);
  assert.equal(counted()[0]! + counted()[1]!, 50);
});

Deno.test("respond: true answers with what the flow makes of a request", async () => {
  await using it = await given();
  await using _ = await flow(
    it.subscriber({ subject: "ask", respond: true }),
    waits("work", (event) => {
      const { data } = event;
      if (data === "none") return null;
      if (data === "list") {
        return new Many([1, 2].map((n) => derive(event, { data: n, subject: "w" })));
      }
      if (data === "bad") throw new FlowError("event.field_invalid", "Cannot read that");
      if (data === "broken") throw new FlowError("config.x", "The password is 123");
      return derive(event, { data: { got: data as string }, subject: "w" });
    }),
  );
  await it.heard("ask");
  const ask = async (data: string) => {
    const answer = await it.connection.request("ask", JSON.stringify(data), { timeout: 60_000 });
    return [
      answer.string(),
      ...[...answer.headers ?? []].map(([name, [value]]) => `${name}: ${value}`),
    ];
  };
  assert.deepEqual(await ask("x"), ['{"got":"x"}']);
  assert.deepEqual(await ask("list"), ["[1,2]"]);
  assert.deepEqual(await ask("none"), [""]);
  assert.deepEqual(await ask("bad"), [
    "",
    "Nats-Service-Error-Code: 400",
    "Nats-Service-Error: Cannot read that",
    "Flowgen-Error-Code: event.field_invalid",
  ]);
  assert.deepEqual(await ask("broken"), [
    "",
    "Nats-Service-Error-Code: 500",
    "Nats-Service-Error: The flow failed",
    "Flowgen-Error-Code: config.x",
  ]);
});

Deno.test("requests wait for room in the window instead of being refused", async () => {
  await using it = await given();
  let most = 0;
  let now = 0;
  await using _ = await flow(
    it.subscriber({ subject: "ask", respond: true }, { maxInFlight: 2 }),
    waits("work", async (event) => {
      most = Math.max(most, ++now);
      await new Promise((resolve) => setTimeout(resolve, 5));
      now--;
      return event;
    }),
  );
  await it.heard("ask");
  const answers = await Promise.all(
    Array.from(
      { length: 20 },
      (_, n) =>
        it.connection.request("ask", String(n), { timeout: 60_000 }).then((answer) =>
          answer.json()
        ),
    ),
  );
  assert.deepEqual(answers, Array.from({ length: 20 }, (_, n) => n));
  assert.equal(most, 2);
});

Deno.test("what comes faster than the flow can take it is dropped and counted", async () => {
  await using it = await given();
  const { promise, resolve: open } = Promise.withResolvers<void>();
  const { task: last, events } = sink(() => promise);
  await using running = await flow(
    it.subscriber({ subject: "a.b", max_pending: 3 }, { maxInFlight: 2 }),
    last,
  );
  await it.heard("a.b");
  await until("one is held", () => events.length === 1);
  for (let n = 0; n < 10; n++) it.connection.publish("a.b", String(n));
  await it.connection.flush();
  const dropped = () => running.log.filter(({ message }) => /dropped/.test(message));
  await until("some are dropped", () => dropped().length > 0);
  assert.equal(dropped()[0]!.level, "warning");
  open();
  await until("the others came", () => events.length === 5);
  await running.stop();
  assert.equal(dropped().reduce((sum, { fields }) => sum + Number(fields.dropped), 0), 6);
  assert.deepEqual(events.slice(1).map(({ data }) => data), [0, 1, 2, 3]);
});

Deno.test("a flow that stops finishes what it has taken in", async () => {
  await using it = await given();
  const { promise, resolve: open } = Promise.withResolvers<void>();
  const { task: last, events } = sink(() => promise);
  const running = await flow(it.subscriber({ subject: "a.b" }, { maxInFlight: 1 }), last);
  await it.heard("a.b");
  for (let n = 0; n < 5; n++) it.connection.publish("a.b", String(n));
  await it.connection.flush();
  const stopped = running.stop(10_000);
  open();
  assert.equal(await stopped, true);
  assert.deepEqual(events.slice(1).map(({ data }) => data), [0, 1, 2, 3, 4]);
});

Deno.test("a subscriber listens again when its server was restarted", async () => {
  await using it = await given();
  const { task: last, events } = sink();
  await using running = await flow(it.subscriber({}), last);
  await it.heard("a.b");
  await it.server.stop();
  await until("it is degraded", () => running.run.health().state === "degraded");
  await it.server.start();
  const before = events.length;
  await until("messages come again", () => {
    it.connection.publish("a.b", "1");
    return events.length > before;
  });
});

Deno.test("a request's answer is the next data", async () => {
  await using it = await given();
  const answers = it.connection.subscribe("ask", {
    callback: (_, message) => {
      const sent = headers();
      sent.set("From", "me");
      message.respond(`{"you":${message.string()}}`, { headers: sent });
    },
  });
  await it.connection.flush();
  await using way = await through(natsRequest, { url: it.url, subject: "ask" });
  assert.equal(await way.send({ a: 1 }), null);
  assert.deepEqual(way.out.map(({ data, subject, meta }) => [data, subject, meta.nats]), [
    [{ you: { a: 1 } }, "it", { headers: { From: "me" } }],
  ]);
  answers.unsubscribe();
});

Deno.test("a request that nobody answers is tried again", async () => {
  await using it = await given();
  await using hasty = await through(natsRequest, { url: it.url, subject: "ask" }, once);
  assert.deepEqual(await hasty.send(1), [
    "nats.no_responders",
    'Cannot ask "ask": nobody answers there',
  ]);
  await using way = await through(natsRequest, { url: it.url, subject: "ask" });
  const sent = way.send(1);
  const answers = it.connection.subscribe("ask", {
    callback: (_, message) => void message.respond("2"),
  });
  assert.equal(await sent, null);
  answers.unsubscribe();
});

Deno.test("a request whose answer takes too long says so", async () => {
  await using it = await given();
  const silent = it.connection.subscribe("ask", { callback: () => {} });
  await it.connection.flush();
  await using way = await through(
    natsRequest,
    { url: it.url, subject: "ask", timeout: "50ms" },
    once,
  );
  assert.deepEqual(await way.send(1), [
    "nats.timeout",
    'Cannot ask "ask": the server did not answer in time',
  ]);
  silent.unsubscribe();
});

Deno.test("an answer that is a service's error fails the event, or is asked for again", async () => {
  await using it = await given();
  let asked = 0;
  const answers = it.connection.subscribe("ask", {
    callback: (_, message) => {
      const code = message.json<number>();
      const sent = headers();
      sent.set("Nats-Service-Error-Code", String(code));
      sent.set("Nats-Service-Error", "no");
      if (++asked < 3) message.respond("", { headers: sent });
      else message.respond("1");
    },
  });
  await it.connection.flush();
  await using way = await through(natsRequest, { url: it.url, subject: "ask" });
  assert.deepEqual(await way.send(404), ["nats.request_failed", '"ask" answered 404: no']);
  assert.equal(asked, 1);
  assert.equal(await way.send(503), null);
  assert.equal(asked, 3);
  answers.unsubscribe();
});

Deno.test("flows ask flows", async () => {
  await using it = await given();
  await using _ = await flow(
    it.subscriber({ subject: "double", respond: true }),
    sync("double", (event, emit) => {
      if (typeof event.data !== "number") {
        throw new FlowError("event.field_invalid", "Not a number");
      }
      emit(derive(event, { data: event.data * 2, subject: "double" }));
    }),
  );
  await it.heard("double");
  await using way = await through(natsRequest, { url: it.url, subject: "double" });
  assert.equal(await way.send(21), null);
  assert.deepEqual(way.out.map(({ data }) => data), [42]);
  assert.deepEqual(await way.send("x"), [
    "nats.request_failed",
    '"double" answered 400: Not a number',
  ]);
});

Deno.test("a message over the server's limit is refused by all that publish", async () => {
  await using server = await startNats({ jetstream: false, maxPayload: 500 });
  for (const definition of [natsCorePublisher, natsRequest]) {
    await using way = await through(definition, { url: server.url, subject: "a" });
    const [code, message] = (await way.send(new Uint8Array(600)))!;
    assert.equal(code, "nats.message_too_large");
    assert.match(
      message!,
      /^Cannot publish to "a": the message has \d+ bytes and the server takes 500$/,
    );
  }
});

Deno.test("an event is published when the server has it, not before", async () => {
  await using it = await given();
  await using way = await through(natsCorePublisher, {
    url: it.url,
    subject: "a",
    timeout: "300ms",
  }, once);
  // The first one waits for the connection too.
  await until("one is published", async () => await way.send(1) === null);
  it.server.pause();
  // The signal takes a moment to reach all threads of the server.
  await until("it is silent", () => {
    const late = new Promise((resolve) => setTimeout(() => resolve(true), 100));
    return Promise.race([late, it.connection.flush().then(() => false)]);
  });
  const sent = await way.send(2);
  it.server.resume();
  assert.deepEqual(sent, ["nats.timeout", "Cannot publish: the server is silent for 300ms"]);
});
