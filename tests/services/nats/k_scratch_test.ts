import { natsJetstreamSubscriber } from "../../../src/tasks/nats/jetstream_subscriber.ts";
import { client, flow, task, until } from "./flows.ts";
import { waits } from "../../../src/engine/testing.ts";
import { startNats } from "./server.ts";

Deno.test("scratch: a reload with a backlog and max_deliver", async () => {
  for (const max_deliver of [1, 2]) {
  await using server = await startNats();
  await using own = await client(server.url);
  await own.manager.streams.add({ name: "S", subjects: ["in.>"] });
  await own.manager.streams.add({ name: "DEAD", subjects: ["dead.>"] });
  const sub = () => task(natsJetstreamSubscriber, { url: server.url, subject: "in.>", stream: { name: "S" }, durable_name: "d", max_deliver, dead_letter_subject: "dead.in" });
  for (let i = 0; i < 500; i++) await own.jetstream.publish("in.a", JSON.stringify(i));
  const seen = new Set<unknown>();
  const leaf = () => waits("leaf", async (event) => { await new Promise((r) => setTimeout(r, 100)); seen.add(event.data); return null; });
  for (let reload = 0; reload < max_deliver; reload++) {
    const f = await flow(sub(), leaf());
    await new Promise((r) => setTimeout(r, 400));
    console.log("stop in time", await f.stop(10_000), "seen", seen.size);
  }
  await using _ = await flow(sub(), leaf());
  await until("idle", async () => {
    const { num_ack_pending, num_pending } = await own.manager.consumers.info("S", "d");
    return num_ack_pending === 0 && num_pending === 0;
  });
  const info = await own.manager.streams.info("DEAD");
  console.log("max_deliver", max_deliver, "seen", seen.size, "dead", info.state.messages);
  }
});
