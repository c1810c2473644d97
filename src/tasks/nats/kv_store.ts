import * as v from "valibot";
import type { JetStreamManager } from "@nats-io/jetstream";
import type { KV } from "@nats-io/kv";
import { FlowError } from "../../core/errors.ts";
import { derive, type FlowEvent, type JsonObject } from "../../flow/event.ts";
import { Count, Duration, TemplateNumber, TemplateText } from "../../flow/schema.ts";
import { defineTask } from "../../flow/task.ts";
import type { NatsLease } from "../../nats/connect.ts";
import { natsError } from "../../nats/errors.ts";
import { checkJetStream } from "../../nats/jetstream.ts";
import { bucketFields, BucketName } from "./bucket_fields.ts";
import { connect, connectionFields } from "./connection.ts";
import { contentOf, contentView, NO_CONTENT } from "./content.ts";
import { latestMessages } from "./latest.ts";
import { checkOperation, type OperationField } from "./operation.ts";
import { bucketError, Reopening } from "./reopening.ts";

const Config = v.strictObject({
  bucket: v.pipe(
    BucketName,
    v.description("The bucket, which the first event creates where there is none."),
  ),
  operation: v.pipe(
    v.picklist(["get", "put", "create", "update", "delete", "list"]),
    v.description(
      "`put` writes whatever was there, `create` only where there is nothing, `update` only over " +
        "`revision`.",
    ),
  ),
  key: v.optional(v.pipe(
    TemplateText,
    v.check(
      ({ constant }) => constant === undefined || isKey(constant),
      'Expected a key such as "flows.orders/intake"',
    ),
    v.description(
      "Key of the value, such as `users.{{event.data.id}}`: letters, digits, `-`, `_`, `/` and `=`, " +
        "with `.` between parts. For all but `list`.",
    ),
  )),
  revision: v.optional(v.pipe(
    TemplateNumber,
    v.description(
      "The revision that `update` replaces, or `delete` removes, such as " +
        "`{{event.data.revision}}`. Any when `delete` has none.",
    ),
  )),
  key_prefix: v.optional(v.pipe(
    TemplateText,
    v.description("What the keys of `list` begin with; all keys when left out."),
  )),
  include_values: v.optional(
    v.pipe(v.boolean(), v.description("Whether `list` gives the values too.")),
  ),
  history: v.optional(v.pipe(
    Count,
    v.maxValue(64, "Expected a history of at most 64"),
    v.description("Values that a new bucket remembers of each key; 1 when left out."),
  )),
  ttl: v.optional(v.pipe(
    Duration,
    v.minValue(100, "Expected a ttl of at least 100ms"),
    v.description("How long a new bucket keeps values; for ever when left out."),
  )),
  ...bucketFields,
  ...connectionFields,
});
type Config = v.InferOutput<typeof Config>;
type Operation = Config["operation"];

/** Fields that mean something to some operations only. */
const FIELDS: Partial<Record<keyof Config, OperationField>> = {
  key: {
    operations: ["get", "put", "create", "update", "delete"],
    example: "users.{{event.data.id}}",
  },
  revision: {
    operations: ["update", "delete"],
    needed: ["update"],
    example: "{{event.data.revision}}",
  },
  key_prefix: { operations: ["list"], needed: [] },
  include_values: { operations: ["list"], needed: [] },
};

interface Bucket {
  readonly kv: KV;
  readonly manager: JetStreamManager;
  readonly largest: number;
}

/**
 * Keeps values in a key-value bucket of NATS, as `nats kv` and other programs see them.
 *
 * `put`, `create` and `update` write the text in `event.data.content`, decoded where
 * `event.data.encoding` is `base64`; of data without such a text all of it, as compact JSON or as the
 * bytes they are. What comes next:
 *
 * - `get`: `{ key, content, encoding, found, revision }`; `content` is text, or base64 where the value
 *   is not UTF-8, as `encoding` (`text`, `base64`) says; all `null` where nothing is found.
 * - `put`: `{ key, revision }`. `create`: `{ key, created, revision }`. `update`:
 *   `{ key, updated, revision }`. A `revision` is `null` where nothing was written.
 * - `delete`: `{ key, deleted }`, which is `false` only where `revision` was not current.
 * - `list`: `{ keys, count, prefix }`, with `include_values` also `values` by key, and in `binary` the
 *   keys of those that are in base64.
 */
export const natsKvStore = defineTask({
  type: "nats_kv_store",
  mode: "async",
  concurrency: 64,
  summary: "Reads and writes values in a key-value bucket of NATS.",
  config: Config,
  examples: [
    {
      title: "Publish a flow file to a cluster",
      config: { bucket: "flowgen_system", operation: "put", key: "flows.{{event.data.path}}" },
    },
    {
      title: "What is there below a path",
      config: {
        bucket: "flowgen_system",
        operation: "list",
        key_prefix: "flows.",
        include_values: true,
      },
    },
    {
      title: "Replace a value unless somebody else was faster",
      config: {
        bucket: "stock",
        operation: "update",
        key: "{{event.data.key}}",
        revision: "{{event.data.revision}}",
      },
    },
  ],
  check: (context) => checkOperation(context, FIELDS),
  async create(context) {
    checkOperation(context, FIELDS);
    const { config, name } = context;
    const lease = await connect(context);
    const operate = OPERATIONS[config.operation];
    const bucket = new Reopening(() => open(config, lease));
    return async (event, { signal }) => {
      if (lease.trouble !== null) await lease.ready(READY_LIMIT, signal);
      try {
        const data = await bucket.use((opened) => operate(opened, config, event));
        return derive(event, { data, subject: name });
      } catch (cause) {
        throw bucketError(cause, `${config.operation} in the bucket "${config.bucket}"`);
      }
    };
  },
});

/** Milliseconds to wait for a connection that was lost. */
const READY_LIMIT = 5_000;

async function open(
  { bucket, history, ttl, replicas }: Config,
  lease: NatsLease,
): Promise<Bucket> {
  await checkJetStream(lease);
  const [{ Kvm }, { jetstream, jetstreamManager }] = await Promise.all([
    import("@nats-io/kv"),
    import("@nats-io/jetstream"),
  ]);
  const { connection } = lease;
  const manager = await jetstreamManager(connection, { checkAPI: false });
  const buckets = new Kvm(jetstream(connection));
  await buckets.create(bucket, { history, ttl, replicas });
  // Without direct reads the leader answers: what was written is there.
  const kv = await buckets.open(bucket, { allow_direct: false });
  return { kv, manager, largest: lease.server.maxPayload };
}

type Operate = (bucket: Bucket, config: Config, event: FlowEvent) => Promise<JsonObject>;

const OPERATIONS: Record<Operation, Operate> = {
  async get({ kv }, config, event) {
    const key = keyOf(config, event);
    const entry = await kv.get(key);
    if (!entry || entry.operation !== "PUT") {
      return { key, ...NO_CONTENT, found: false, revision: null };
    }
    return { key, ...contentView(entry.value), found: true, revision: entry.revision };
  },
  async put(bucket, config, event) {
    const key = keyOf(config, event);
    return { key, revision: await bucket.kv.put(key, valueOf(bucket, key, event)) };
  },
  async create(bucket, config, event) {
    const key = keyOf(config, event);
    const value = valueOf(bucket, key, event);
    const revision = await unlessTaken(() => bucket.kv.create(key, value));
    return { key, created: revision !== null, revision };
  },
  async update(bucket, config, event) {
    const key = keyOf(config, event);
    const seen = revisionOf(config, event)!;
    const value = valueOf(bucket, key, event);
    const revision = await unlessTaken(() => bucket.kv.update(key, value, seen));
    return { key, updated: revision !== null, revision };
  },
  async delete({ kv }, config, event) {
    const key = keyOf(config, event);
    const previousSeq = revisionOf(config, event);
    const options = previousSeq === undefined ? undefined : { previousSeq };
    const deleted = await unlessTaken(async () => (await kv.delete(key, options), true));
    return { key, deleted: deleted === true };
  },
  async list({ manager }, config, event): Promise<JsonObject> {
    const prefix = config.key_prefix?.at(event) ?? "";
    const room = `$KV.${config.bucket}.`;
    // Whole parts narrow what the server looks at; the rest of the prefix is looked at here.
    const parts = isKey(prefix.replace(/\.?[^.]*$/, "")) ? prefix.replace(/[^.]*$/, "") : "";
    const fits = (subject: string) => subject.startsWith(room + prefix);
    const values: Record<string, string> = {};
    const keys: string[] = [];
    const binary: string[] = [];
    const stream = `KV_${config.bucket}`;
    for await (const message of latestMessages(manager, stream, `${room}${parts}>`, fits)) {
      if (message.header.get("KV-Operation") || message.header.get("Nats-Marker-Reason")) continue;
      const key = message.subject.slice(room.length);
      keys.push(key);
      if (!config.include_values) continue;
      const { content, encoding } = contentView(message.data);
      values[key] = content;
      if (encoding === "base64") binary.push(key);
    }
    const found = { keys, count: keys.length, prefix };
    return config.include_values ? { ...found, values, binary } : found;
  },
};

function isKey(key: string): boolean {
  return /^[-/_=.a-zA-Z0-9]+$/.test(key) && !/^\.|\.\.|\.$/.test(key);
}

function keyOf(config: Config, event: FlowEvent): string {
  const key = config.key!.at(event);
  if (isKey(key)) return key;
  throw new FlowError("nats.key_invalid", `Cannot use ${JSON.stringify(key)} as a key of NATS`, {
    hint: 'use letters, digits, "-", "_", "/" and "=", with "." between parts',
  });
}

function revisionOf({ revision }: Config, event: FlowEvent): number | undefined {
  const number = revision?.at(event);
  if (number === undefined || Number.isSafeInteger(number) && number > 0) return number;
  throw new FlowError("event.field_invalid", `Cannot use ${number} as a revision`, {
    hint: "a revision is a whole number from 1, as get and put give it",
  });
}

function valueOf({ largest }: Bucket, key: string, { data }: FlowEvent): Uint8Array {
  const value = contentOf(data);
  if (value.length <= largest) return value;
  throw new FlowError(
    "nats.message_too_large",
    `Cannot put "${key}": the value has ${value.length} bytes and the server takes ${largest}`,
    { hint: "raise the server's max_payload, or use nats_object_store" },
  );
}

/** `null` where someone was faster. */
async function unlessTaken<T>(write: () => Promise<T>): Promise<T | null> {
  try {
    return await write();
  } catch (cause) {
    if (natsError(cause, "write").code === "nats.conflict") return null;
    throw cause;
  }
}
