import * as v from "valibot";
import { ByteSize, Count, Duration } from "../../flow/schema.ts";
import { NatsName, SubjectPattern } from "./names.ts";

const described = <S extends v.GenericSchema>(schema: S, text: string) =>
  v.optional(v.pipe(schema, v.description(text)));

const entries = {
  name: v.pipe(NatsName, v.description("Name of the stream.")),
  create_or_update: v.optional(
    v.pipe(
      v.boolean(),
      v.description(
        "Whether the task creates the stream where it is missing, and changes what differs from " +
          "the fields given here.",
      ),
    ),
    false,
  ),
  description: described(v.string(), "Shown by NATS tools."),
  subjects: described(
    v.array(SubjectPattern),
    "What the stream takes, added to what an existing one takes already; the task's own subject " +
      "when a new stream is created without.",
  ),
  storage: described(v.picklist(["file", "memory"]), "Where messages are kept."),
  replicas: described(Count, "Servers of a cluster that keep every message."),
  retention: described(
    v.picklist(["limits", "interest", "workqueue"]),
    "How long messages stay: up to the limits, or also no longer than somebody waits for them.",
  ),
  discard: described(v.picklist(["old", "new"]), "What goes when the stream is full."),
  max_age: described(Duration, "How long a message stays, `0s` for ever."),
  max_messages: described(Count, "Messages in the stream."),
  max_messages_per_subject: described(Count, "Messages of one subject."),
  max_bytes: described(ByteSize, "Bytes in the stream."),
  max_message_size: described(ByteSize, "Bytes of one message."),
  max_consumers: described(Count, "Consumers the stream may have."),
  duplicate_window: described(
    Duration,
    "How long a message id is remembered, so that a message published again is stored once.",
  ),
  allow_direct: described(v.boolean(), "Whether replicas may answer reads."),
  allow_rollup: described(v.boolean(), "Whether a message may replace all before it."),
  allow_batch_publish: described(v.boolean(), "Whether batches may be published as one."),
  deny_delete: described(v.boolean(), "Whether single messages cannot be deleted; never undone."),
  deny_purge: described(v.boolean(), "Whether the stream cannot be purged; never undone."),
};

/** The `stream` block of JetStream tasks. */
export const StreamFields = v.strictObject(entries);
export type StreamFields = v.InferOutput<typeof StreamFields>;

/** Fields that are a setting of the stream, with the server's name for them and their unit. */
export const SETTINGS: Readonly<
  Partial<Record<keyof StreamFields, readonly [setting: string, factor?: number]>>
> = {
  description: ["description"],
  storage: ["storage"],
  replicas: ["num_replicas"],
  retention: ["retention"],
  discard: ["discard"],
  max_age: ["max_age", 1e6],
  max_messages: ["max_msgs"],
  max_messages_per_subject: ["max_msgs_per_subject"],
  max_bytes: ["max_bytes"],
  max_message_size: ["max_msg_size"],
  max_consumers: ["max_consumers"],
  duplicate_window: ["duplicate_window", 1e6],
  allow_direct: ["allow_direct"],
  allow_rollup: ["allow_rollup_hdrs"],
  allow_batch_publish: ["allow_atomic"],
  deny_delete: ["deny_delete"],
  deny_purge: ["deny_purge"],
};
