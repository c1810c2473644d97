/** A nats-server with a stream full of messages, and flows that read it. */
import {
  AckPolicy,
  jetstream,
  type JetStreamClient,
  type JetStreamManager,
  jetstreamManager,
} from "@nats-io/jetstream";
import { connect } from "@nats-io/transport-node";
import { join } from "node:path";
import { createRuntime, type TaskDefinition } from "../mod.ts";
import { type NatsServer, startNats } from "../tests/services/nats/server.ts";

/** Of the messages that wait in the stream `IN`. */
const SUBJECT = "in.orders";

/** Publishes of ours on their way at once. */
const IN_FLIGHT = 256;
/** Milliseconds between two looks at how far a consumer is. */
const LOOK_EVERY = 10;
/** Milliseconds; whoever takes longer hangs. */
const LIMIT = 60_000;

export interface FlowOptions {
  /** A flow file; `URL` in it becomes the server's. */
  readonly flow: string;
  readonly isolation?: "process" | "none";
  readonly tasks?: readonly TaskDefinition[];
}

export class Bed implements AsyncDisposable {
  private constructor(
    readonly server: NatsServer,
    /** For the bare side; flows have a connection of their own. */
    readonly js: JetStreamClient,
    /** For the measuring program. */
    readonly manager: JetStreamManager,
    /** That wait in the stream `IN`. */
    readonly messages: number,
    readonly rest: AsyncDisposable,
  ) {}

  /** Starts a server and fills the stream `IN` with so many messages of about 300 bytes of JSON. */
  static async filled(messages: number): Promise<Bed> {
    await using stack = new AsyncDisposableStack();
    const server = stack.use(await startNats());
    const opened = async () => {
      const connection = await connect({ servers: server.url });
      stack.defer(() => connection.close());
      return connection;
    };
    const js = jetstream(await opened());
    // What is asked shall not wait behind the messages of the bare side.
    const manager = await jetstreamManager(await opened());
    await manager.streams.add({ name: "IN", subjects: ["in.>"] });
    await manager.streams.add({ name: "OUT", subjects: ["out.>"] });
    let next = 0;
    await Promise.all(Array.from({ length: IN_FLIGHT }, async () => {
      while (next < messages) await js.publish(SUBJECT, payload(next++));
    }));
    return new Bed(server, js, manager, messages, stack.move());
  }

  /** Makes a consumer of the stream `IN`, as the subscriber of a flow does. */
  async consumer(name: string, maxAckPending: number): Promise<void> {
    await this.manager.consumers.add("IN", {
      durable_name: name,
      filter_subject: "in.>",
      ack_policy: AckPolicy.Explicit,
      max_ack_pending: maxAckPending,
    });
  }

  /** Runs a flow in this process until `use` is done. */
  async withFlow<T>(
    { flow, isolation = "none", tasks = [] }: FlowOptions,
    use: () => Promise<T>,
  ): Promise<T> {
    const folder = await Deno.makeTempDir({ prefix: "flowgen-bench-" });
    try {
      await Deno.writeTextFile(
        join(folder, "flow.yaml"),
        flow.replaceAll("URL", this.server.url),
      );
      await using runtime = createRuntime({
        flows: { path: folder, watch: false },
        cache: { type: "memory" },
        health: { enabled: false },
        http_server: { enabled: false },
        scripts: { isolation },
      }, { listen: false, tasks });
      await runtime.start();
      const [status] = runtime.status().flows;
      if (status?.state !== "running") {
        throw new Error(`The flow does not run: ${status?.error?.message}`);
      }
      return await use();
    } finally {
      await Deno.remove(folder, { recursive: true });
    }
  }

  /**
   * Messages per second that a consumer acknowledges, once the first tenth, which is start-up, is done;
   * waits until all of them are.
   */
  async rate(consumer: string, messages = this.messages): Promise<number> {
    const start = performance.now();
    let from = { at: start, count: 0 };
    for (;;) {
      // The answer may wait until a busy program gets to read it.
      const at = performance.now();
      const count = messages - await this.#left(consumer, messages);
      if (count >= messages) return (count - from.count) / (at - from.at) * 1_000;
      if (from.count === 0 && count >= messages / 10) from = { at, count };
      if (at - start > LIMIT) throw new Error(`${count} of ${messages} messages in ${LIMIT} ms`);
      await new Promise((resolve) => setTimeout(resolve, LOOK_EVERY));
    }
  }

  /** Empties the stream `OUT`; messages that were in it. */
  async takeOut(): Promise<number> {
    const { state } = await this.manager.streams.info("OUT");
    await this.manager.streams.purge("OUT");
    return state.messages;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.rest[Symbol.asyncDispose]();
  }

  /** What a consumer has not acknowledged; all of it while there is no consumer yet. */
  async #left(consumer: string, messages: number): Promise<number> {
    try {
      const info = await this.manager.consumers.info("IN", consumer);
      return info.num_pending + info.num_ack_pending;
    } catch (cause) {
      if ((cause as Error).name === "ConsumerNotFoundError") return messages;
      throw cause;
    }
  }
}

function payload(n: number): string {
  return JSON.stringify({
    id: `order-${n}`,
    price: 12.5,
    count: n % 9 + 1,
    tags: ["new", "north", "gift"],
    note: "x".repeat(200),
  });
}
