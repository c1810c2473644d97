import * as v from "valibot";
import { FlowError } from "../../core/errors.ts";
import {
  derive,
  eventView,
  type FlowEvent,
  isBytes,
  type Json,
  jsonView,
} from "../../flow/event.ts";
import { ResourceRef } from "../../flow/resource.ts";
import { ByteSize, Count, Duration, Text } from "../../flow/schema.ts";
import type {
  ScriptEngines,
  ScriptEvent,
  ScriptHost,
  ScriptLanguage,
  ScriptResult,
  ScriptSource,
} from "../../flow/script.ts";
import type { Entry, Key, Store } from "../../flow/store.ts";
import {
  type AsyncRun,
  defineTask,
  Many,
  type SyncRun,
  type TaskContext,
} from "../../flow/task.ts";

const Limits = v.strictObject({
  timeout: v.optional(v.pipe(Duration, v.description("Time one event may take, such as `1s`."))),
  memory: v.optional(v.pipe(ByteSize, v.description("Heap of the process it runs in."))),
  output: v.optional(v.pipe(ByteSize, v.description("Size of one result, as JSON text."))),
  max_operations: v.optional(v.pipe(Count, v.description("Only for `engine: rhai`."))),
  max_call_depth: v.optional(v.pipe(Count, v.description("Only for `engine: rhai`."))),
  max_string_size: v.optional(v.pipe(Count, v.description("Only for `engine: rhai`."))),
  max_array_size: v.optional(v.pipe(Count, v.description("Only for `engine: rhai`."))),
  max_map_size: v.optional(v.pipe(Count, v.description("Only for `engine: rhai`."))),
  max_expr_depth: v.optional(v.pipe(Count, v.description("Only for `engine: rhai`."))),
  max_function_expr_depth: v.optional(v.pipe(Count, v.description("Only for `engine: rhai`."))),
});

const Config = v.strictObject({
  engine: v.optional(v.pipe(
    v.picklist(["js", "ts", "rhai"]),
    v.description("Language of inline code; a resource's extension decides by itself."),
  )),
  code: v.pipe(
    Text,
    v.description("Body of a function of `event` and `ctx`, inline or `{ resource: key }`."),
  ),
  limits: v.optional(Limits, {}),
  sandbox: v.optional(v.pipe(
    v.unknown(),
    v.check(
      () => false,
      "sandbox is not available in this version\n" +
        "hint: scripts run in processes without permissions already, see scripts.isolation",
    ),
    v.description("Not available in this version."),
  )),
});
type Config = v.InferOutput<typeof Config>;

/** Runs a script on each event. */
export const script = defineTask({
  type: "script",
  mode: "either",
  // Caged scripts travel in batches of 256, of which several are on their way at once.
  concurrency: 1024,
  summary: "Runs JavaScript or TypeScript on each event: change, split, filter, remember.",
  config: Config,
  examples: [{
    title: "Convert a reading, and drop what is not one",
    config: {
      code: "if (event.data.f === undefined) return null\n" +
        "return { celsius: Math.round((event.data.f - 32) / 1.8) }",
    },
    input: [{ f: 212 }, { note: "restarted" }],
    output: [{ celsius: 100 }],
  }, {
    title: "Split an order into its lines",
    config: {
      engine: "ts",
      code: "const { id, lines } = event.data as { id: string; lines: string[] };\n" +
        "return lines.map((sku) => ({ order: id, sku }))",
    },
    input: [{ id: "o-1", lines: ["a", "b"] }],
    output: [{ order: "o-1", sku: "a" }, { order: "o-1", sku: "b" }],
  }],
  async check({ config, name, flow, services, text, locate }) {
    const code = await text(config.code);
    try {
      services.scripts.check(sourceOf(config, code, { name, flow, scripts: services.scripts }));
    } catch (cause) {
      throw placed(cause, config, locate);
    }
  },
  async create(context) {
    const { config, name, flow, services, text, locate, defer } = context;
    const code = await text(config.code);
    const source = sourceOf(config, code, { name, flow, scripts: services.scripts });
    const compiled = await services.scripts.compile(source, hostOf(context)).catch((cause) => {
      throw placed(cause, config, locate);
    });
    defer(async () => await compiled[Symbol.asyncDispose]());

    if (compiled.sync) {
      const run: SyncRun = (event, emit, call) => {
        const result = compiled.run(eventView(event)) as ScriptResult;
        if (result.kind === "list") call.expand(eventsOf(result, event, name));
        else if (result.kind !== "drop") emit(eventOf(result, event, name));
      };
      return { sync: run };
    }
    const run: AsyncRun = async (event, { signal }) => {
      const result = await compiled.run(eventView(event), signal);
      if (result.kind === "drop") return null;
      if (result.kind === "list") return new Many(eventsOf(result, event, name));
      return eventOf(result, event, name);
    };
    return { async: run };
  },
});

function sourceOf(
  { engine, code: field, limits }: Config,
  code: string,
  { name, flow, scripts }: { name: string; flow: string; scripts: ScriptEngines },
): ScriptSource {
  const { timeout, memory, output } = limits;
  const extension = field instanceof ResourceRef
    ? /\.(js|ts|rhai)$/.exec(field.key)?.[1]
    : undefined;
  const language = (extension ?? engine ?? scripts.defaultLanguage) as ScriptLanguage;
  return { code, language, flow, task: name, limits: { timeout, memory, output } };
}

/** An error inside the code as one inside the file that holds it. */
function placed(
  cause: unknown,
  { code }: Config,
  locate: TaskContext<Config>["locate"],
): unknown {
  if (!(cause instanceof FlowError)) return cause;
  const { position, hint, message } = cause;
  // The engine's own position has no file, so the error is made anew with one that has.
  const at = code instanceof ResourceRef
    ? { file: code.key, line: position?.line ?? 1, column: position?.column ?? 1 }
    : locate(["code"], position?.line, position?.column);
  return new FlowError(cause.code, message, { hint, cause: cause.cause, position: at });
}

type Given = { readonly value: Json } | { readonly event: ScriptEvent };

function eventOf(
  result: Given & { readonly meta?: FlowEvent["meta"] },
  event: FlowEvent,
  name: string,
): FlowEvent {
  const meta = metaOf(result.meta, event);
  if (!("event" in result)) return derive(event, { data: result.value, subject: name, meta });
  const { data, subject, id } = result.event;
  // Scripts see bytes as text; what comes back unchanged stays what it was.
  const kept = isBytes(event.data) && data === jsonView(event.data) ? event.data : data;
  return derive(event, { data: kept, subject, id: id ?? undefined, meta });
}

/** Made one by one as the tasks behind ask for them. */
function* eventsOf(
  { items, meta }: ScriptResult & { kind: "list" },
  event: FlowEvent,
  name: string,
): Generator<FlowEvent> {
  for (const item of items) yield eventOf({ ...item, meta }, event, name);
}

/** What the script left in `ctx.meta`; the correlation id is not its to change. */
function metaOf(meta: FlowEvent["meta"] | undefined, { meta: before }: FlowEvent) {
  if (meta === undefined || before.correlation_id === undefined) return meta;
  return { ...meta, correlation_id: before.correlation_id };
}

function hostOf({ services, flow, log }: TaskContext<Config>): ScriptHost {
  return {
    cache: below(services.runtimeStore, ["flow", flow, "script"]),
    async resource(key) {
      try {
        return new TextDecoder().decode((await services.resources.read(key)).bytes);
      } catch (cause) {
        if (cause instanceof FlowError && cause.code === "resource.missing") return null;
        throw cause;
      }
    },
    // Scripts read it for their own fencing; single nodes have none.
    epoch: 0,
    print: (level, text) => log[level](text),
  };
}

/** A store in which every key starts with `prefix`. It is lent: closing it closes nothing. */
function below(store: Store, prefix: Key): Store {
  const full = (key: Key) => [...prefix, ...key];
  const short = (entry: Entry): Entry => ({ ...entry, key: entry.key.slice(prefix.length) });
  return {
    async get(key) {
      const entry = await store.get(full(key));
      return entry && short(entry);
    },
    put: (key, value, expiry) => store.put(full(key), value, expiry),
    create: (key, value, expiry) => store.create(full(key), value, expiry),
    update: (key, value, seen, expiry) => store.update(full(key), value, seen, expiry),
    delete: (key, seen) => store.delete(full(key), seen),
    async *list(key) {
      for await (const entry of store.list(full(key))) yield short(entry);
    },
    async *watch(key, signal) {
      for await (const changed of store.watch(full(key), signal)) {
        yield changed && changed.slice(prefix.length);
      }
    },
    async [Symbol.asyncDispose]() {},
  };
}
