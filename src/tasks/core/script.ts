import * as v from "valibot";
import {
  derive,
  eventView,
  type FlowEvent,
  isBytes,
  type Json,
  jsonView,
} from "../../flow/event.ts";
import { ByteSize, Count, Duration, Text } from "../../flow/schema.ts";
import type { ScriptEngines, ScriptEvent, ScriptResult, ScriptSource } from "../../flow/script.ts";
import { type AsyncRun, defineTask, Many, type SyncRun } from "../../flow/task.ts";
import { hostOf, languageOf, placed, SCRIPT_CONCURRENCY } from "./script_host.ts";

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
  limits: v.optional(
    v.pipe(Limits, v.description("What one event may use; left out, those of config.yaml.")),
    {},
  ),
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
  concurrency: SCRIPT_CONCURRENCY,
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
    const { text: code, file } = await text(config.code);
    try {
      services.scripts.check(sourceOf(config, code, { name, flow, scripts: services.scripts }));
    } catch (cause) {
      throw placed(cause, file, "code", locate);
    }
  },
  async create(context) {
    const { config, name, flow, services, text, locate, defer } = context;
    const { text: code, file } = await text(config.code);
    const source = sourceOf(config, code, { name, flow, scripts: services.scripts });
    const compiled = await services.scripts.compile(source, hostOf(context)).catch((cause) => {
      throw placed(cause, file, "code", locate);
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
  const language = languageOf(field, engine, scripts);
  return { code, language, flow, task: name, limits: { timeout, memory, output } };
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
  return derive(event, { data: kept, subject, id: id ?? undefined, meta, error: event.error });
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
