/** What a subscriber makes of messages that it gave back, against a real server. */
import assert from "node:assert/strict";
import { systemClock } from "../../../src/core/clock.ts";
import { waits } from "../../../src/engine/testing.ts";
import type { TaskEntry } from "../../../src/flow/flow.ts";
import { testServices } from "../../../src/flow/testing.ts";
import { MemoryStore } from "../../../src/store/memory.ts";
import { natsJetstreamSubscriber } from "../../../src/tasks/nats/jetstream_subscriber.ts";
import { client, flow, task, until } from "./flows.ts";
import { startNats } from "./server.ts";

/** A task whose generations share a store, as in one runtime. */
function withStore(one: TaskEntry, runtimeStore: MemoryStore): TaskEntry {
  const services = testServices({ clock: systemClock, runtimeStore });
  const definition = {
    ...natsJetstreamSubscriber,
    create: (context: Parameters<typeof natsJetstreamSubscriber.create>[0]) =>
      natsJetstreamSubscriber.create({ ...context, services }),
  };
  return { ...one, definition };
}

Deno.test("reloads during a backlog bring no message nearer to the dead letters", async () => {
  await using server = await startNats();
  await using own = await client(server.url);
  await own.manager.streams.add({ name: "S", subjects: ["in.>"] });
  await own.manager.streams.add({ name: "DEAD", subjects: ["dead.>"] });
  for (let i = 0; i < 300; i++) await own.jetstream.publish("in.a", JSON.stringify(i));
  const store = new MemoryStore({ clock: systemClock });
  const subscriber = () => {
    const config = {
      url: server.url,
      subject: "in.>",
      stream: { name: "S" },
      durable_name: "d",
      max_deliver: 1,
      dead_letter_subject: "dead.in",
    };
    return withStore(task(natsJetstreamSubscriber, config), store);
  };
  const seen = new Set<unknown>();
  const slow = () =>
    waits("slow", async ({ data }) => {
      await new Promise((resolve) => setTimeout(resolve, 50));
      seen.add(data);
      return null;
    });
  for (const enough of [10, 60]) {
    await using _ = await flow(subscriber(), slow());
    await until("some are done", () => seen.size >= enough);
  }
  assert.ok(seen.size < 300, "there was a backlog");
  await using _ = await flow(subscriber(), slow());
  await until("all are off the list", async () => {
    const { num_ack_pending, num_pending } = await own.manager.consumers.info("S", "d");
    return num_ack_pending === 0 && num_pending === 0;
  });
  const { state } = await own.manager.streams.info("DEAD");
  assert.deepEqual([seen.size, state.messages], [300, 0]);
});
