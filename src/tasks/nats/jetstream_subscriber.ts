import { later } from "../../core/later.ts";
import * as v from "valibot";
import { FlowError, FlowErrors } from "../../core/errors.ts";
import { delayAfter } from "../../flow/redelivery.ts";
import { Count, Duration } from "../../flow/schema.ts";
import { type CheckContext, defineTask } from "../../flow/task.ts";
import { connect, connectionFields } from "./connection.ts";
import { NatsName, sharedName, Subject, SubjectPattern } from "./names.ts";
import { payloadField } from "./payload.ts";
import { StreamFields } from "./stream_fields.ts";

/** Of the server, for consumers that do not say. Milliseconds. */
const ACK_WAIT = 30_000;
/** Room for the windows of 64 replicas. */
const MAX_ACK_PENDING = 65_536;

const Config = v.strictObject({
  subject: v.pipe(
    SubjectPattern,
    v.description("Subject to take messages of, such as `orders.new`, `orders.*` or `orders.>`."),
  ),
  stream: v.optional(v.pipe(
    StreamFields,
    v.description("The stream; when left out, the one that has the subject."),
  )),
  durable_name: v.optional(v.pipe(
    NatsName,
    v.description(
      "Name of the durable consumer, which remembers what is done and which all replicas share; " +
        "`<flow>_<task>` when left out, with `_` for what the server does not take and eight " +
        "digits of a digest so that no two flows share one by accident.",
    ),
  )),
  payload: payloadField("the event goes to the error branch, with its bytes as data"),
  ack_wait: v.optional(v.pipe(
    Duration,
    v.minValue(500, "Expected an ack_wait of at least 500ms"),
    v.description(
      "How long after a process was lost its messages come again, `30s` when left out. Messages " +
        "under way never come again: the server is told of them in time.",
    ),
  )),
  max_deliver: v.optional(v.pipe(
    Count,
    v.description(
      "Deliveries of one message, also those that ended the process. After the last one it goes to " +
        "`dead_letter_subject`; without one it is given up and logged as an error. A message that was " +
        "under way when processes ended is first tried once more, alone, since another one may have " +
        "ended them. Without end when left out.",
    ),
  )),
  dead_letter_subject: v.optional(v.pipe(
    Subject,
    v.description(
      "Where messages go that are given up; a stream must have this subject. They keep payload and " +
        "headers, and say in `Flowgen-*` headers what happened.",
    ),
  )),
  on_permanent: v.optional(
    v.pipe(
      v.picklist(["nak", "term"]),
      v.description(
        "What becomes of a message whose event is at fault, so that trying again is no use: `nak` " +
          "treats it like any other failure, `term` gives it up at once, as after `max_deliver`.",
      ),
    ),
    "nak",
  ),
  backoff: v.optional(v.pipe(
    v.array(Duration),
    v.minLength(1, "Expected at least one duration"),
    v.description(
      "How long a message that failed stays away, by the number of its deliveries; the last one " +
        "counts for all further. When left out: `1s`, doubling up to `5m`, with jitter.",
    ),
  )),
  max_messages: v.optional(v.pipe(
    Count,
    v.description(
      "Messages asked for at once; a quarter of `max_in_flight` when left out. Never are more asked " +
        "for than `max_in_flight` has room for.",
    ),
  )),
  max_ack_pending: v.optional(v.pipe(
    Count,
    v.description(
      "Messages that all replicas together may have, those included that wait to come again: at " +
        "least replicas × `max_in_flight`. 65536 when left out.",
    ),
  )),
  max_waiting: v.optional(v.pipe(
    Count,
    v.description(
      "Requests of all replicas that the server keeps, about five for each; cannot be changed later.",
    ),
  )),
  delay: v.optional(v.pipe(
    Duration,
    v.description("Time between two requests for messages, at least."),
  )),
  throttle: v.optional(v.pipe(Duration, v.description("Time between two events, at least."))),
  ...connectionFields,
});
type Config = v.InferOutput<typeof Config>;

/**
 * Reads a stream through a durable pull consumer. A message is acknowledged when its delivery is done,
 * and comes again when it failed. All replicas and generations of the flow share one consumer.
 *
 * `event.subject` is the message's subject and `event.id` its `Nats-Msg-Id`. `event.meta.nats` has
 * `subject`, `stream`, `sequence`, `deliveries` (from 1), and where there are some `id` and `headers`.
 * The sender's `Flowgen-Correlation-Id` becomes the event's own. Events keep the stream's order, but
 * what failed comes again after those behind it.
 */
export const natsJetstreamSubscriber = defineTask({
  type: "nats_jetstream_subscriber",
  mode: "source",
  ordered: true,
  fails: true,
  summary: "Takes messages of a JetStream stream, each until its delivery is done.",
  config: Config,
  examples: [
    {
      title: "Read orders, and keep aside what fails five times",
      config: {
        subject: "orders.>",
        stream: { name: "ORDERS" },
        max_deliver: 5,
        dead_letter_subject: "dead.orders",
      },
    },
    {
      title: "Create the stream, and try again after ten seconds, then every minute",
      config: {
        subject: "readings.*",
        stream: { name: "READINGS", create_or_update: true, max_age: "7d" },
        backoff: ["10s", "1m"],
      },
    },
  ],
  check: (context) => checkFields(context),
  async create(context) {
    checkFields(context);
    const { config, name, flow, clock, random, log, services, defer } = context;
    const lease = await connect(context);
    const [{ createInbox, headers }, { jetstream, jetstreamManager }] = await Promise.all([
      import("@nats-io/nats-core"),
      import("@nats-io/jetstream"),
    ]);
    // Loaded where one runs: nodes without NATS start faster.
    const [{ StreamReader }, { publishDeadLetter }, { Tally }] = await Promise.all([
      later<typeof import("./stream_reader.ts")>(
        "./stream_reader.ts",
        import.meta.url,
      ),
      later<typeof import("./dead_letters.ts")>(
        "./dead_letters.ts",
        import.meta.url,
      ),
      import("../../flow/tally.ts"),
    ]);
    const { connection } = lease;
    const client = jetstream(connection);
    const subject = config.dead_letter_subject;
    const durable = config.durable_name ?? await sharedName(flow, name);
    const counts = (of: string) =>
      new Tally(services.runtimeStore, ["flow", flow, of, durable], services.cluster.nodeId);
    const reader = new StreamReader({
      lease,
      manager: await jetstreamManager(connection, { checkAPI: false }),
      createInbox,
      clock,
      random,
      log,
      stream: config.stream,
      consumer: {
        name: durable,
        own: config.durable_name === undefined,
        subject: config.subject,
        ackWait: config.ack_wait ?? ACK_WAIT,
        maxAckPending: config.max_ack_pending ?? MAX_ACK_PENDING,
        maxWaiting: config.max_waiting,
      },
      batch: config.max_messages,
      delay: config.delay ?? 0,
      intake: {
        payload: config.payload,
        throttle: config.throttle ?? 0,
        maxDeliver: config.max_deliver,
        ...(config.max_deliver !== undefined && {
          untried: counts("untried"),
          alone: counts("alone"),
        }),
        termPermanent: config.on_permanent === "term",
        delay: (deliveries) => delayAfter(config.backoff, deliveries, random.next()),
        deadLetter: subject === undefined ? null : (taken, cause) =>
          publishDeadLetter(
            { subject, flow, task: name, jetstream: client, headers: () => headers() },
            taken,
            cause,
          ),
      },
    });
    defer(() => reader.close());
    return reader;
  },
});

/** @throws {FlowErrors} */
function checkFields({ config, locate }: Pick<CheckContext<Config>, "config" | "locate">): void {
  const findings: FlowError[] = [];
  if (
    config.dead_letter_subject !== undefined && config.max_deliver === undefined &&
    config.on_permanent !== "term"
  ) {
    findings.push(
      new FlowError(
        "config.unused_key",
        'Nothing would ever go to "dead_letter_subject": messages are never given up',
        {
          hint: "add max_deliver, or on_permanent: term",
          position: locate(["dead_letter_subject"]),
        },
      ),
    );
  }
  if (findings.length > 0) throw new FlowErrors(findings);
}
