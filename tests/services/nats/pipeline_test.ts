/** Flow files with NATS tasks, run by the runtime as people run them. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { createRuntime, type Runtime } from "../../../src/runtime.ts";
import { type Client, client, until } from "./flows.ts";
import { type NatsServer, startNats } from "./server.ts";

interface Given extends AsyncDisposable {
  readonly server: NatsServer;
  readonly own: Client;
  readonly runtime: Runtime;
}

/** A runtime with these flow files; `URL` in them becomes the server's. */
async function running(flows: Readonly<Record<string, string>>): Promise<Given> {
  const server = await startNats();
  const own = await client(server.url);
  const folder = await Deno.makeTempDir({ prefix: "flowgen-nats-flows-" });
  for (const [name, text] of Object.entries(flows)) {
    await Deno.writeTextFile(join(folder, `${name}.yaml`), text.replaceAll("URL", server.url));
  }
  const runtime = createRuntime({
    flows: { path: folder },
    cache: { type: "memory" },
    health: { enabled: false },
    http_server: { enabled: false },
    scripts: { isolation: "none" },
  }, { listen: false });
  return {
    server,
    own,
    runtime,
    async [Symbol.asyncDispose]() {
      await runtime.stop(5_000);
      await own[Symbol.asyncDispose]();
      await server[Symbol.asyncDispose]();
      await Deno.remove(folder, { recursive: true });
    },
  };
}

const ORDERS = `
flow:
  tasks:
    - nats_jetstream_subscriber:
        name: orders
        url: "URL"
        subject: orders.*
        stream: { name: ORDERS, create_or_update: true, subjects: [orders.>] }
        max_deliver: 2
        dead_letter_subject: dead.orders
        backoff: [10ms]
    - script:
        name: price
        code: |
          if (event.data.n === 3) throw new Error("no threes");
          return { ...event.data, cents: event.data.euros * 100 };
    - nats_jetstream_publisher:
        name: priced
        url: "URL"
        subject: priced.{{event.data.country}}
        stream: { name: PRICED, create_or_update: true, subjects: [priced.>] }
        msg_id: "{{event.meta.nats.stream}}-{{event.meta.nats.sequence}}"
`;

Deno.test("orders pass from stream to stream through a script, and what fails is kept aside", async () => {
  await using it = await running({ orders: ORDERS });
  const { own: { manager, jetstream }, runtime } = it;
  await manager.streams.add({ name: "DEAD", subjects: ["dead.>"] });
  await runtime.start();
  assert.deepEqual(runtime.status().flows.map(({ state }) => state), ["running"]);
  await until("the stream is there", () => manager.streams.info("ORDERS"));
  for (let n = 1; n <= 5; n++) {
    await jetstream.publish("orders.new", JSON.stringify({ n, euros: n, country: "de" }));
  }
  await until("four are priced", async () => {
    return (await manager.streams.info("PRICED")).state.messages === 4;
  });
  const stored = [];
  for (let seq = 1; seq <= 4; seq++) {
    const message = (await manager.streams.getMessage("PRICED", { seq }))!;
    stored.push([message.subject, message.header!.get("Nats-Msg-Id"), message.json()]);
  }
  assert.deepEqual(
    stored,
    [1, 2, 4, 5].map((n) => [
      "priced.de",
      `ORDERS-${n}`,
      { n, euros: n, country: "de", cents: n * 100 },
    ]),
  );
  await until("one is kept aside", async () => {
    return (await manager.streams.info("DEAD")).state.messages === 1;
  });
  const dead = (await manager.streams.getMessage("DEAD", { seq: 1 }))!;
  assert.equal((dead.json() as { n: number }).n, 3);
  assert.equal(dead.header!.get("Flowgen-Deliveries"), "2");
});

Deno.test("a message that is not JSON goes to the error branch, and is done with it", async () => {
  await using it = await running({
    readings: `
flow:
  tasks:
    - nats_jetstream_subscriber:
        name: readings
        url: "URL"
        subject: readings
        stream: { name: READINGS, create_or_update: true }
        payload: json
    - nats_jetstream_publisher: { name: good, url: "URL", subject: good.a }
    - nats_jetstream_publisher:
        name: bad
        when: error
        url: "URL"
        subject: bad.a
        headers: { Code: "{{event.error.code}}", Task: "{{event.error.task}}" }
`,
  });
  const { own: { manager, jetstream }, runtime } = it;
  await manager.streams.add({ name: "GOOD", subjects: ["good.>"] });
  await manager.streams.add({ name: "BAD", subjects: ["bad.>"] });
  await runtime.start();
  assert.deepEqual(runtime.status().flows.map(({ state }) => state), ["running"]);
  await until("the stream is there", () => manager.streams.info("READINGS"));
  await jetstream.publish("readings", "not json");
  await jetstream.publish("readings", "{}");
  await until("both are done", async () => {
    const [consumer] = await manager.consumers.list("READINGS").next();
    return consumer?.ack_floor.stream_seq === 2;
  });
  const bad = (await manager.streams.getMessage("BAD", { seq: 1 }))!;
  assert.equal(bad.string(), "not json");
  assert.equal(bad.header!.get("Code"), "event.not_json");
  assert.equal(bad.header!.get("Task"), "readings");
  assert.equal((await manager.streams.info("GOOD")).state.messages, 1);
});

Deno.test("a flow whose server is away says so, and starts by itself when it is there", async () => {
  await using it = await running({ orders: ORDERS });
  await it.server.stop();
  await it.runtime.start();
  const [flow] = it.runtime.status().flows;
  assert.equal(flow!.state, "degraded");
  assert.equal(flow!.error!.code, "nats.unavailable");
  assert.match(flow!.error!.message, /^Cannot reach NATS at 127\.0\.0\.1:\d+: /);
  await it.server.start();
  await until("it runs", () => it.runtime.status().flows[0]!.state === "running");
});

Deno.test("a wrong field of a NATS task is found in its file", async () => {
  await using it = await running({
    wrong: `
flow:
  tasks:
    - nats_jetstream_subscriber:
        name: in
        subject: a b
        durable_name: x.y
        stream: { name: S, max_agee: 1h }
    - nats_jetstream_publisher:
        name: out
        subject: a.*
`,
  });
  await it.runtime.start();
  const [flow] = it.runtime.status().flows;
  assert.equal(flow!.state, "invalid");
  assert.equal(flow!.error!.position!.line, 6);
});
