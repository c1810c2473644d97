import * as v from "valibot";
import { derive } from "../../flow/event.ts";
import { Duration, TemplateMap, TemplateText } from "../../flow/schema.ts";
import { defineTask } from "../../flow/task.ts";
import { connect, connectionFields } from "./connection.ts";
import { fillHeaders, ID_HEADER, setHeader } from "./headers.ts";
import { NatsName } from "./names.ts";
import { encodePayload } from "./payload.ts";
import { checkSize, publishError, subjectFor, TemplateSubject } from "./publish.ts";
import { ensureStream } from "./stream.ts";
import { StreamFields } from "./stream_fields.ts";

const Config = v.strictObject({
  subject: v.pipe(
    TemplateSubject,
    v.description("Subject to publish to, such as `orders.{{event.data.country}}`; a template."),
  ),
  stream: v.optional(v.pipe(
    StreamFields,
    v.description(
      "The stream that takes the messages, looked at before the first event. When left out, nobody " +
        "asks whether there is one until a message is refused.",
    ),
  )),
  headers: v.pipe(
    v.optional(TemplateMap, {}),
    v.description(
      "Headers of the message; values are templates. `Flowgen-Correlation-Id` is added from the event.",
    ),
  ),
  msg_id: v.optional(v.pipe(
    TemplateText,
    v.description(
      "`Nats-Msg-Id`, by which the stream drops what it has already, for as long as its " +
        "`duplicate_window`; a template. The event's own id when left out, if it has one.",
    ),
  )),
  expected_stream: v.optional(v.pipe(
    NatsName,
    v.description("Refuses messages that any other stream would take."),
  )),
  ack_timeout: v.optional(
    v.pipe(
      Duration,
      v.minValue(1, "Expected an ack_timeout of at least 1ms"),
      v.description("How long the stream may take to say that it has the message."),
    ),
    "5s",
  ),
  ...connectionFields,
});

/**
 * Publishes each event and waits until a stream has it. Data goes out as compact JSON, bytes as they
 * are. The next data is `{ stream, sequence, domain, duplicate }`.
 *
 * Many messages are on their way at once; their order is that of the events unless one is tried again.
 */
export const natsJetstreamPublisher = defineTask({
  type: "nats_jetstream_publisher",
  mode: "async",
  concurrency: 256,
  summary: "Publishes events to a JetStream stream.",
  config: Config,
  examples: [
    {
      title: "Store orders by country, each once",
      config: {
        subject: "orders.{{event.data.country}}",
        msg_id: "{{event.data.id}}",
        headers: { "Content-Type": "application/json" },
      },
    },
    {
      title: "Create the stream first",
      config: {
        subject: "readings.temperature",
        stream: { name: "READINGS", create_or_update: true, subjects: ["readings.>"] },
      },
    },
  ],
  async create(context) {
    const { config, name } = context;
    const lease = await connect(context);
    const { connection } = lease;
    const [{ headers: noHeaders }, { jetstream, jetstreamManager }] = await Promise.all([
      import("@nats-io/nats-core"),
      import("@nats-io/jetstream"),
    ]);
    const client = jetstream(connection);
    const { subject: subjectField, stream, msg_id, expected_stream, ack_timeout } = config;
    const expect = expected_stream === undefined ? undefined : { streamName: expected_stream };

    /** Nothing outside may change before the first event, and a stream that went may come back. */
    let ready: Promise<void> | null = null;
    const seeToStream = () =>
      ready ??= jetstreamManager(connection, { checkAPI: false })
        .then((manager) => ensureStream(manager, stream!, subjectField.constant))
        .catch((cause) => {
          ready = null;
          throw cause;
        });

    return async (event, { signal }) => {
      // What is sent without a connection may get lost without a word.
      if (lease.trouble !== null) await lease.ready(ack_timeout, signal);
      if (stream) await (ready ?? seeToStream());
      const subject = subjectFor(subjectField, event);
      const payload = encodePayload(event.data);
      const headers = fillHeaders(noHeaders(), config.headers, event);
      const id = msg_id ? msg_id.at(event) : event.id;
      if (id !== undefined) setHeader(headers, ID_HEADER, id);
      checkSize(subject, payload, headers, lease.server.maxPayload);
      try {
        const ack = await client.publish(subject, payload, {
          headers,
          expect,
          timeout: ack_timeout,
        });
        const { stream, seq: sequence, domain = "", duplicate } = ack;
        return derive(event, { data: { stream, sequence, domain, duplicate }, subject: name });
      } catch (cause) {
        const error = publishError(cause, subject);
        if (error.code === "nats.no_stream") ready = null;
        throw error;
      }
    };
  },
});
