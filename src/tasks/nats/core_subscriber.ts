import { later } from "../../core/later.ts";
import * as v from "valibot";
import { ByteSize, Count } from "../../flow/schema.ts";
import { defineTask } from "../../flow/task.ts";
import { connect, connectionFields } from "./connection.ts";
import { QueueName, sharedName, SubjectPattern } from "./names.ts";
import { payloadField } from "./payload.ts";

const Config = v.strictObject({
  subject: v.pipe(
    SubjectPattern,
    v.description("Subject to listen on, such as `orders.new`, `orders.*` or `orders.>`."),
  ),
  queue_group: v.optional(v.nullable(v.pipe(
    QueueName,
    v.description(
      "Each message goes to one member of the group; `<flow>_<task>` when left out, as in " +
        "`durable_name` of `nats_jetstream_subscriber`. `null`: every replica gets every message.",
    ),
  ))),
  payload: payloadField("the event goes to the error branch, with its bytes as data"),
  respond: v.optional(
    v.pipe(
      v.boolean(),
      v.description(
        "Whether messages that ask for an answer get the flow's result: the data of the last task, " +
          "a list where there are several, or empty. A failure is told in `Nats-Service-Error` and " +
          "`Nats-Service-Error-Code`.",
      ),
    ),
    false,
  ),
  max_pending: v.optional(
    v.pipe(
      Count,
      v.description(
        "Messages that wait while `max_in_flight` is used up; what comes then is dropped.",
      ),
    ),
    65_536,
  ),
  max_pending_bytes: v.optional(
    v.pipe(ByteSize, v.description("Bytes of the messages that wait.")),
    64 * 1024 * 1024,
  ),
  ...connectionFields,
});

/**
 * Listens on a subject of core NATS. Nothing is kept for who does not listen: messages are lost while
 * the flow is down, when the process ends, and when more come than the flow can take, which the log
 * says with a count. Use `nats_jetstream_subscriber` for what must not be lost.
 *
 * `event.subject` is the message's subject; `event.meta.nats` has `subject`, and where there are some
 * `reply` and `headers`. Events come in the order of the messages.
 */
export const natsCoreSubscriber = defineTask({
  type: "nats_core_subscriber",
  mode: "source",
  ordered: true,
  fails: true,
  summary: "Takes messages that are published on a NATS subject while the flow runs.",
  config: Config,
  examples: [
    { title: "Follow prices", config: { subject: "prices.*" } },
    {
      title: "Answer requests, at any replica",
      config: { subject: "prices.ask", respond: true },
    },
  ],
  async create(context) {
    const { config, name, flow, clock, random, log } = context;
    const lease = await connect(context);
    const { headers } = await import("@nats-io/nats-core");
    const { CoreReader } = await later<typeof import("./core_reader.ts")>(
      "./core_reader.ts",
      import.meta.url,
    );
    return new CoreReader({
      lease,
      clock,
      random,
      log,
      subject: config.subject,
      queue: config.queue_group === null
        ? undefined
        : config.queue_group ?? await sharedName(flow, name),
      payload: config.payload,
      respond: config.respond,
      maxPending: config.max_pending,
      maxPendingBytes: config.max_pending_bytes,
      headers: () => headers(),
    });
  },
});
