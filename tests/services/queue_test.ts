/** Durable queues in processes that are killed. */
import assert from "node:assert/strict";
import { Folder, type Running } from "../../src/cli/testing.ts";
import { startNats, until } from "./nats/server.ts";
import { freePorts } from "./ports.ts";

const CONFIG = `flows: { path: flows }
http_server: { port: 0, hostname: 127.0.0.1 }
health: { port: 0 }
retry: { max_attempts: 2, initial_backoff: 50ms, max_backoff: 50ms }
`;

const TAKE_IN = `flow:
  tasks:
    - http_endpoint: { name: order, endpoint: /orders, method: POST }
    - queue_push: { name: keep, queue: orders }
`;

const sendTo = (port: number, more = "") =>
  `flow:
  tasks:
    - queue_subscribe: { name: kept, queue: orders, backoff: [200ms]${more} }
    - http_request:
        name: send
        endpoint: "http://127.0.0.1:${port}/"
        method: POST
        payload: { object: { id: "{{event.data.payload.id}}" } }
`;

async function push(node: Running, ...ids: readonly number[]): Promise<void> {
  const { http_port } = await node.record("Running");
  for (const id of ids) {
    const response = await fetch(`http://127.0.0.1:${http_port}/orders`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ id }),
    });
    await response.body?.cancel();
    assert.equal(response.status, 200);
  }
}

async function kill(node: Running): Promise<void> {
  node.process.kill("SIGKILL");
  await node.ended();
}

Deno.test("events pushed while the target is down arrive, although the runtime is killed twice", async () => {
  await killedTwice(CONFIG);
});

Deno.test("events pushed into a cluster's queue arrive, although the runtime is killed twice", async () => {
  await using server = await startNats({ sync: true });
  await killedTwice(`${CONFIG}cache: { type: nats, url: "${server.url}" }\n`);
});

/** Six events, and a target that comes up at last. */
async function killedTwice(config: string): Promise<void> {
  const [port] = freePorts(1);
  await using folder = await Folder.with({
    "config.yaml": config,
    "flows/take_in.yaml": TAKE_IN,
    "flows/send.yaml": sendTo(port!),
  });
  for (const ids of [[1, 2], [3, 4]]) {
    await using node = folder.start(["--config", "config.yaml"]);
    await push(node, ...ids);
    // All retries are over, twice.
    await node.record("A delivery failed");
    await node.record("A delivery failed");
    await kill(node);
  }
  await using node = folder.start(["--config", "config.yaml"]);
  await push(node, 5, 6);
  await node.record("A delivery failed");

  const arrived = new Set<number>();
  const all = Promise.withResolvers<void>();
  await using _target = Deno.serve(
    { port, hostname: "127.0.0.1", onListen() {} },
    async (request) => {
      arrived.add((await request.json()).id);
      if (arrived.size === 6) all.resolve();
      return new Response();
    },
  );
  await all.promise;
  assert.deepEqual([...arrived].sort(), [1, 2, 3, 4, 5, 6]);
}

Deno.test("what was done before the runtime stopped does not come again", async () => {
  const arrived: number[] = [];
  const heard = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
  await using target = Deno.serve(
    { port: 0, hostname: "127.0.0.1", onListen() {} },
    async (request) => {
      arrived.push((await request.json()).id);
      heard[arrived.length - 1]?.resolve();
      return new Response();
    },
  );
  await using folder = await Folder.with({
    "config.yaml": CONFIG,
    "flows/take_in.yaml": TAKE_IN,
    "flows/send.yaml": sendTo(target.addr.port),
  });
  {
    await using node = folder.start(["--config", "config.yaml"]);
    await push(node, 1);
    await heard[0]!.promise;
    node.signal("SIGTERM"); // what has arrived is noted before the end
    assert.equal((await node.ended()).code, 0);
  }
  await using node = folder.start(["--config", "config.yaml"]);
  await push(node, 2);
  await heard[1]!.promise;
  await kill(node);
  assert.deepEqual(arrived, [1, 2]);
});

Deno.test("an event that ends the process goes to the dead letters alone", async () => {
  const poison = 2;
  const done = new Set<number>();
  let arrived: number[] = [];
  let kill = () => {};
  let ready: Promise<void> | undefined;
  let lastOnes = Promise.withResolvers<void>();
  /** Whether the process is still there to hear of it. */
  let heard = Promise.withResolvers<boolean>();
  await using target = Deno.serve(
    { port: 0, hostname: "127.0.0.1", onListen() {} },
    async (request) => {
      const { id } = await request.json();
      arrived.push(id);
      if (arrived.length === 4) lastOnes.resolve();
      if (id === poison) {
        await lastOnes.promise;
        await ready;
        kill();
      } else if (await heard.promise) done.add(id);
      return new Response();
    },
  );
  await using folder = await Folder.with({
    "config.yaml": CONFIG,
    "flows/take_in.yaml": TAKE_IN,
    "flows/send.yaml": sendTo(target.addr.port, ", max_deliver: 2"),
  });
  const start = () => {
    const node = folder.start(["--config", "config.yaml"]);
    arrived = [];
    lastOnes = Promise.withResolvers();
    kill = () => {
      node.process.kill("SIGKILL");
      heard.resolve(false);
      heard = Promise.withResolvers();
    };
    return node;
  };
  // Twice among the others.
  {
    await using node = start();
    const pushed = push(node, 1, poison, 3, 4);
    ready = pushed;
    await pushed;
    await node.ended();
  }
  {
    await using node = start();
    await node.ended();
  }
  assert.deepEqual(arrived.toSorted(), [1, poison, 3, 4]);
  // Once alone.
  {
    await using node = start();
    lastOnes.resolve();
    heard.resolve(true);
    await node.ended();
  }
  assert.deepEqual(arrived.at(-1), poison);
  await using node = start();
  lastOnes.resolve();
  heard.resolve(true);
  kill = () => assert.fail("it came again");
  const { code, attempts } = await node.record("An event went to the dead letters");
  assert.deepEqual([code, attempts], ["queue.deliveries_exceeded", 4]);
  await until(() => done.size === 3, 60_000, "the others are done");
  assert.deepEqual([...done].toSorted(), [1, 3, 4]);
});
