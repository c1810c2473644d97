/** A message that ends the process, and what was under way beside it. */
import assert from "node:assert/strict";
import { Folder } from "../../../src/cli/testing.ts";
import { client, until } from "./flows.ts";
import { startNats } from "./server.ts";
import { steadily } from "./steadily.ts";

/** Milliseconds; what a process had is there for the next one after that. */
const ACK_WAIT = 2_000;

const CONFIG = `flows: { path: flows }
health: { port: 0 }
`;

const flow = (nats: string, target: number) =>
  `flow:
  tasks:
    - nats_jetstream_subscriber:
        name: in
        url: "${nats}"
        subject: in.a
        stream: { name: S }
        durable_name: d
        ack_wait: ${ACK_WAIT}ms
        max_deliver: 2
        dead_letter_subject: dead.in
    - http_request:
        name: send
        endpoint: "http://127.0.0.1:${target}/"
        method: POST
        payload: { object: { id: "{{event.data}}" } }
`;

Deno.test("a message that ends the process goes to the dead letters alone", async () => {
  // One that is done and comes again all the same is one too many of its deliveries.
  await steadily(ACK_WAIT / 6, async (watch) => {
    await using server = await startNats();
    await watch(server.url);
    await using own = await client(server.url);
    await own.manager.streams.add({ name: "S", subjects: ["in.>"] });
    await own.manager.streams.add({ name: "DEAD", subjects: ["dead.>"] });
    const done = new Set<unknown>();
    let kill = () => {};
    await using target = Deno.serve(
      { port: 0, hostname: "127.0.0.1", onListen() {} },
      async (request) => {
        const { id } = await request.json();
        if (id === "poison") kill();
        // Long enough for the poison to come while the others are under way.
        await new Promise((resolve) => setTimeout(resolve, 300));
        if (id !== "poison") done.add(id);
        return new Response();
      },
    );
    for (const id of ["a", "b", "poison", "c"]) {
      await own.jetstream.publish("in.a", JSON.stringify(id));
    }
    await using folder = await Folder.with({
      "config.yaml": CONFIG,
      "flows/send.yaml": flow(server.url, target.addr.port),
    });
    const dead = async () => (await own.manager.streams.info("DEAD")).state.messages;
    // Twice among the others, once alone.
    for (let deaths = 0; deaths < 3; deaths++) {
      await using node = folder.start(["--config", "config.yaml"]);
      kill = () => node.process.kill("SIGKILL");
      await node.ended();
      assert.equal(await dead(), 0);
    }
    kill = () => assert.fail("it came again");
    await using _ = folder.start(["--config", "config.yaml"]);
    await until("all are off the list", async () => {
      const { num_ack_pending, num_pending } = await own.manager.consumers.info("S", "d");
      return num_ack_pending === 0 && num_pending === 0;
    });
    assert.deepEqual([[...done].sort(), await dead()], [["a", "b", "c"], 1]);
    const letter = await own.manager.streams.getMessage("DEAD", { seq: 1 });
    assert.equal(letter!.string(), '"poison"');
    assert.equal(letter!.header!.get("Flowgen-Error-Code"), "nats.too_many_deliveries");
  });
});
