import * as v from "valibot";
import { FlowError, FlowErrors } from "../../core/errors.ts";
import { derive, type FlowEvent, type Json, type JsonObject, jsonView } from "../../flow/event.ts";
import { Duration, TemplateJson, TemplateText } from "../../flow/schema.ts";
import type { Key, Store } from "../../flow/store.ts";
import { defineTask } from "../../flow/task.ts";
import { decodeValue, encodeValue } from "../../flow/value.ts";

const Config = v.strictObject({
  operation: v.pipe(
    v.picklist(["get", "put", "create", "list", "delete"]),
    v.description("`put` writes whatever was there, `create` only where there was nothing."),
  ),
  key: v.optional(v.pipe(
    TemplateText,
    v.description("Key of the value, such as `users/{{event.data.id}}`. For all but `list`."),
  )),
  value: v.optional(v.pipe(
    TemplateJson,
    v.description("What `put` and `create` write; the event's data when left out."),
  )),
  ttl: v.optional(v.pipe(
    Duration,
    v.minValue(1, "Expected a ttl of at least 1ms"),
    v.description("How long `put` and `create` keep the value; for ever when left out."),
  )),
  prefix: v.optional(v.pipe(
    TemplateText,
    v.description("What the keys of `list` begin with; all keys when left out."),
  )),
  values: v.optional(
    v.pipe(v.boolean(), v.description("Whether `list` gives the values too.")),
  ),
  scope: v.optional(
    v.pipe(
      v.picklist(["flow", "shared"]),
      v.description("`flow`: keys of this flow alone. `shared`: keys that all flows see."),
    ),
    "flow",
  ),
});
type Config = v.InferOutput<typeof Config>;
type Operation = Config["operation"];

/** Fields that mean something to some operations only. */
const FIELDS: Record<"key" | "value" | "ttl" | "prefix" | "values", readonly Operation[]> = {
  key: ["get", "put", "create", "delete"],
  value: ["put", "create"],
  ttl: ["put", "create"],
  prefix: ["list"],
  values: ["list"],
};

/**
 * Keeps values between events: JSON or bytes, in the runtime store. Bytes come back as base64 text,
 * as everywhere in JSON.
 */
export const storeKv = defineTask({
  type: "store_kv",
  mode: "async",
  summary: "Reads and writes values in the runtime's own store.",
  config: Config,
  examples: [
    {
      title: "Remember the latest reading of each sensor",
      config: { operation: "put", key: "sensors/{{event.data.sensor}}", ttl: "7d" },
      input: [{ sensor: "a", c: 21 }],
      output: [{ key: "sensors/a" }],
    },
    {
      title: "Look a value up",
      config: { operation: "get", key: "sensors/{{event.data.sensor}}" },
      input: [{ sensor: "b" }],
      output: [{ key: "sensors/b", value: null, found: false }],
    },
    {
      title: "All keys below a path, with their values",
      config: { operation: "list", prefix: "sensors/", values: true, scope: "shared" },
      input: [{}],
      output: [{ entries: [] }],
    },
  ],
  check({ config, locate }) {
    const findings: FlowError[] = [];
    for (const [name, operations] of Object.entries(FIELDS)) {
      if (config[name as keyof typeof FIELDS] === undefined) continue;
      if (operations.includes(config.operation)) continue;
      const message = `"${name}" has no meaning with the operation "${config.operation}"`;
      findings.push(new FlowError("config.unused_key", message, { position: locate([name]) }));
    }
    if (config.operation !== "list" && config.key === undefined) {
      findings.push(
        new FlowError("config.missing_key", `Expected "key" for "${config.operation}"`, {
          hint: 'write for example key: "users/{{event.data.id}}"',
          position: locate([]),
        }),
      );
    }
    if (findings.length > 0) throw new FlowErrors(findings);
  },
  create({ config, name, flow, services: { runtimeStore: store } }) {
    const room = config.scope === "flow" ? ["flow", flow, "kv"] : ["shared", "kv"];
    const operate = operations[config.operation];
    return async (event) =>
      derive(event, { data: await operate(store, room, config, event), subject: name });
  },
});

type Operate = (store: Store, room: Key, config: Config, event: FlowEvent) => Promise<JsonObject>;

const operations: Record<Operation, Operate> = {
  async get(store, room, config, event) {
    const key = config.key!.at(event);
    const entry = await store.get(keyOf(room, key));
    return { key, value: entry && jsonView(decodeValue(entry)), found: entry !== null };
  },
  async put(store, room, config, event) {
    const key = config.key!.at(event);
    await store.put(keyOf(room, key), valueOf(config, event), { ttl: config.ttl });
    return { key };
  },
  async create(store, room, config, event) {
    const key = config.key!.at(event);
    const revision = await store.create(keyOf(room, key), valueOf(config, event), {
      ttl: config.ttl,
    });
    return { key, created: revision !== null };
  },
  async delete(store, room, config, event) {
    const key = config.key!.at(event);
    return { key, deleted: await store.delete(keyOf(room, key)) };
  },
  async list(store, room, config, event): Promise<JsonObject> {
    const prefix = config.prefix?.at(event) ?? "";
    // Whole parts narrow what the store reads; the rest of the prefix is looked at here.
    const folder = prefix.split("/").slice(0, -1);
    const entries: { key: string; value: Json }[] = [];
    for await (const entry of store.list(keyOf(room, folder.join("/"), folder))) {
      const key = entry.key.slice(room.length).join("/");
      if (!key.startsWith(prefix)) continue;
      entries.push({ key, value: config.values ? jsonView(decodeValue(entry)) : null });
    }
    if (config.values) return { entries };
    return { keys: entries.map(({ key }) => key) };
  },
};

function valueOf(config: Config, event: FlowEvent): Uint8Array {
  return encodeValue(config.value ? config.value.at(event) : event.data);
}

/** A key as written is a path below the room; the store takes no empty parts. */
function keyOf(room: Key, key: string, parts: Key = key.split("/")): Key {
  if (!parts.includes("")) return [...room, ...parts];
  throw new FlowError("event.key_invalid", `Cannot use "${key}" as a key`, {
    hint: "a key is one or more non-empty parts with / between them",
  });
}
