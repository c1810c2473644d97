import * as v from "valibot";
import type { JetStreamManager } from "@nats-io/jetstream";
import type { ObjectInfo, ObjectStore } from "@nats-io/obj";
import { type Clock, sleep } from "../../core/clock.ts";
import { FlowError, textOf } from "../../core/errors.ts";
import { derive, type FlowEvent, type JsonObject } from "../../flow/event.ts";
import { ByteSize, TemplateText } from "../../flow/schema.ts";
import { defineTask } from "../../flow/task.ts";
import type { NatsLease } from "../../nats/connect.ts";
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
    v.picklist(["get", "put", "list", "delete"]),
    v.description("What to do."),
  ),
  object: v.optional(v.pipe(
    TemplateText,
    v.description("Name of the object, such as `{{event.data.path}}`. For all but `list`."),
  )),
  prefix: v.optional(v.pipe(
    TemplateText,
    v.description("What the names of `list` begin with; all objects when left out."),
  )),
  as: v.optional(v.pipe(
    v.picklist(["fields", "bytes"]),
    v.description(
      "What `get` gives: `fields` describe the object and have its content, `bytes` are the content " +
        "alone. `fields` when left out.",
    ),
  )),
  max_size: v.optional(
    v.pipe(
      ByteSize,
      v.description("Bytes of the largest object that is read or written, at most."),
    ),
    64 * 1024 * 1024,
  ),
  ...bucketFields,
  ...connectionFields,
});
type Config = v.InferOutput<typeof Config>;
type Operation = Config["operation"];

/** Fields that mean something to some operations only. */
const FIELDS: Partial<Record<keyof Config, OperationField>> = {
  object: { operations: ["get", "put", "delete"], example: "{{event.data.path}}" },
  prefix: { operations: ["list"], needed: [] },
  as: { operations: ["get"], needed: [] },
};

/** Milliseconds to wait for a connection that was lost, and for the next piece of an object. */
const READY_LIMIT = 5_000;
const READ_LIMIT = 10_000;

interface Bucket {
  readonly objects: ObjectStore;
  readonly manager: JetStreamManager;
  readonly clock: Clock;
}

/**
 * Keeps objects of any size in an object store of NATS; each is in memory as a whole while it is read
 * or written. What is read is checked against its SHA-256.
 *
 * `put` writes the text in `event.data.content`, decoded where `event.data.encoding` is `base64`; of
 * data without such a text all of it, as compact JSON or as the bytes they are. What comes next:
 *
 * - `get`: `{ object, found, size, digest, modified, content, encoding }`; `content` is text, or base64
 *   where it is not UTF-8, as `encoding` (`text`, `base64`) says; `null` where nothing is found. With
 *   `as: bytes` the bytes, and an object that is missing fails the event.
 * - `put`: `{ object, size, digest, modified }`. `digest` is `SHA-256=` and base64url.
 * - `list`: `{ objects, count, prefix }`, each `{ object, size, digest, modified }`.
 * - `delete`: `{ object, deleted }`, `false` where there was none.
 */
export const natsObjectStore = defineTask({
  type: "nats_object_store",
  mode: "async",
  summary: "Reads and writes objects in an object store of NATS.",
  config: Config,
  examples: [
    {
      title: "Keep what was downloaded",
      config: { bucket: "downloads", operation: "put", object: "{{event.data.path}}" },
    },
    {
      title: "Fetch a picture as bytes",
      config: {
        bucket: "pictures",
        operation: "get",
        object: "{{event.data.name}}",
        as: "bytes",
        max_size: "10MiB",
      },
    },
  ],
  check: (context) => checkOperation(context, FIELDS),
  async create(context) {
    checkOperation(context, FIELDS);
    const { config, name, clock } = context;
    const lease = await connect(context);
    const operate = OPERATIONS[config.operation];
    const bucket = new Reopening(() => open(config, lease, clock));
    return async (event, { signal }) => {
      if (lease.trouble !== null) await lease.ready(READY_LIMIT, signal);
      try {
        const data = await bucket.use((opened) => operate(opened, config, event));
        return derive(event, { data, subject: name });
      } catch (cause) {
        throw bucketError(cause, `${config.operation} in the object store "${config.bucket}"`);
      }
    };
  },
});

async function open(
  { bucket, replicas }: Config,
  lease: NatsLease,
  clock: Clock,
): Promise<Bucket> {
  await checkJetStream(lease);
  const [{ Objm }, { jetstream, jetstreamManager }] = await Promise.all([
    import("@nats-io/obj"),
    import("@nats-io/jetstream"),
  ]);
  const { connection } = lease;
  const manager = await jetstreamManager(connection, { checkAPI: false });
  const objects = await new Objm(jetstream(connection)).create(bucket, { replicas });
  return { objects, manager, clock };
}

type Operate = (
  bucket: Bucket,
  config: Config,
  event: FlowEvent,
) => Promise<JsonObject | Uint8Array>;

const OPERATIONS: Record<Operation, Operate> = {
  async get(bucket, config, event) {
    const object = nameOf(config, event);
    const found = await read(bucket, object, config.max_size);
    if (config.as === "bytes") {
      if (found) return found.bytes;
      throw new FlowError(
        "nats.object_missing",
        `There is no object "${object}" in "${config.bucket}"`,
      );
    }
    if (!found) {
      const nothing = { size: null, digest: null, modified: null };
      return { object, found: false, ...nothing, ...NO_CONTENT };
    }
    return { ...viewOf(found.info), object, found: true, ...contentView(found.bytes) };
  },
  async put({ objects }, config, event) {
    const object = nameOf(config, event);
    const bytes = contentOf(event.data);
    if (bytes.length > config.max_size) throw tooLarge(object, bytes.length, config.max_size);
    return viewOf(await objects.putBlob({ name: object }, bytes));
  },
  async list({ manager }, config, event): Promise<JsonObject> {
    const prefix = config.prefix?.at(event) ?? "";
    const list: JsonObject[] = [];
    const filter = `$O.${config.bucket}.M.>`;
    for await (const message of latestMessages(manager, `OBJ_${config.bucket}`, filter)) {
      const info = message.json<ObjectInfo>();
      if (!info.deleted && info.name.startsWith(prefix)) list.push(viewOf(info, message.time));
    }
    const byName = (one: JsonObject, other: JsonObject) => one.object! < other.object! ? -1 : 1;
    return { objects: list.sort(byName), count: list.length, prefix };
  },
  async delete({ objects }, config, event) {
    const object = nameOf(config, event);
    const info = await objects.info(object);
    if (!info || info.deleted) return { object, deleted: false };
    await objects.delete(object);
    return { object, deleted: true };
  },
};

function viewOf(
  { name, size, digest, mtime }: ObjectInfo,
  time: Date = new Date(mtime),
): JsonObject {
  return { object: name, size, digest, modified: time.toISOString() };
}

/** `null` when there is none. */
async function read(
  { objects, clock }: Bucket,
  object: string,
  most: number,
): Promise<{ info: ObjectInfo; bytes: Uint8Array } | null> {
  const found = await objects.get(object);
  if (!found) return null;
  const { info, data, error } = found;
  error.catch(() => {}); // told by the stream too
  const reader = data.getReader();
  try {
    if (info.size > most) throw tooLarge(object, info.size, most);
    const bytes = new Uint8Array(info.size);
    let at = 0;
    for (;;) {
      const { value, done } = await inTime(reader.read(), object, clock);
      if (done) break;
      if (at + value.length > info.size) throw corrupt(object);
      bytes.set(value, at);
      at += value.length;
    }
    if (at !== info.size) throw corrupt(object);
    return { info, bytes };
  } catch (cause) {
    throw /corrupt object/.test(textOf(cause)) ? corrupt(object) : cause;
  } finally {
    await reader.cancel().catch(() => {});
  }
}

/** An object that is replaced while it is read has no end, and nobody says so. */
async function inTime<T>(next: Promise<T>, object: string, clock: Clock): Promise<T> {
  const came = new AbortController();
  const late = sleep(clock, READ_LIMIT, came.signal).then(() => {
    if (came.signal.aborted) return next;
    throw new FlowError(
      "nats.unavailable",
      `Cannot read the object "${object}": it stopped half-way`,
    );
  });
  try {
    return await Promise.race([next, late]);
  } finally {
    came.abort();
  }
}

function nameOf(config: Config, event: FlowEvent): string {
  const object = config.object!.at(event);
  if (object !== "") return object;
  throw new FlowError("event.field_invalid", "Cannot use an empty text as the name of an object");
}

function tooLarge(object: string, size: number, most: number): FlowError {
  return new FlowError(
    "nats.object_too_large",
    `Cannot use the object "${object}": it has ${size} bytes and ${most} are allowed`,
    { hint: "raise max_size" },
  );
}

function corrupt(object: string): FlowError {
  return new FlowError(
    "nats.object_corrupt",
    `Cannot use the object "${object}": it is not what its digest says`,
    { hint: "write it again" },
  );
}
