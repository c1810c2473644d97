/** JSON Schema of config.yaml and of flow files, for editors: `flowgen schema [config|flow]`. */
import type { ConversionConfig, JsonSchema } from "@valibot/to-json-schema";
import * as v from "valibot";
import { commonEntries, roleOf } from "./common_fields.ts";
import { FlowFields } from "./flow_file.ts";
import {
  AnyJson,
  ByteSize,
  Duration,
  TemplateBoolean,
  TemplateJson,
  TemplateMap,
  TemplateNumber,
  TemplateText,
} from "./schema.ts";
import type { SchemaNode } from "./schema_walk.ts";
import type { TaskDefinition } from "./task.ts";

const DIALECT = "http://json-schema.org/draft-07/schema#";

/** What a person may write where our own building blocks stand. */
const BLOCKS = new Map<unknown, JsonSchema>([
  [Duration, {
    type: "string",
    description: "A duration such as 500ms, 30s, 5m or 1h 30m.",
    examples: ["30s"],
  }],
  [ByteSize, {
    anyOf: [{ type: "integer", minimum: 0 }, {
      type: "string",
      pattern: "^\\d+(\\.\\d+)?\\s*(B|KB|MB|GB|KiB|MiB|GiB)?$",
    }],
    description: "Bytes, or a size such as 64MiB.",
  }],
  [AnyJson, { description: "Any value." }],
  [TemplateText, { type: "string", description: "Text; may hold {{event.…}}." }],
  [TemplateNumber, {
    anyOf: [{ type: "number" }, { type: "string" }],
    description: "A number, or a template that gives one.",
  }],
  [TemplateBoolean, {
    anyOf: [{ type: "boolean" }, { type: "string" }],
    description: "true, false, or a template that gives one of them.",
  }],
  [TemplateJson, { description: "Any value; its texts may hold {{event.…}}." }],
  [TemplateMap, {
    type: "object",
    additionalProperties: { type: ["string", "number", "boolean"] },
    description: "Text by name; may hold {{event.…}}.",
  }],
]);

/** The JSON Schema of one valibot schema, as people may write it. */
export async function jsonSchemaOf(schema: v.GenericSchema): Promise<JsonSchema> {
  const { toJsonSchema } = await import("@valibot/to-json-schema");
  return strip(toJsonSchema(replaceBlocks(schema), CONVERSION));
}

/** The JSON Schema of config.yaml, given its valibot schema. */
export async function configJsonSchema(schema: v.GenericSchema): Promise<JsonSchema> {
  return { $schema: DIALECT, title: "flowgen config.yaml", ...await jsonSchemaOf(schema) };
}

/** The JSON Schema of flow files that use these task types. */
export async function flowJsonSchema(definitions: Iterable<TaskDefinition>): Promise<JsonSchema> {
  const tasks: JsonSchema[] = [];
  for (const definition of definitions) tasks.push(await taskItem(definition));
  const flow = await jsonSchemaOf(FlowFields);
  return {
    $schema: DIALECT,
    title: "flowgen flow",
    type: "object",
    required: ["flow"],
    additionalProperties: false,
    properties: {
      flow: {
        ...flow,
        properties: {
          ...flow.properties,
          tasks: { type: "array", items: { oneOf: tasks }, description: "From first to last." },
        },
      },
    },
  };
}

/** `{ <type>: fields }`, the task's own fields and the common ones of its role. */
async function taskItem(definition: TaskDefinition): Promise<JsonSchema> {
  const own = await jsonSchemaOf(definition.config);
  const common = await jsonSchemaOf(v.strictObject(commonEntries(roleOf(definition))));
  const fields: JsonSchema = {
    ...own,
    properties: { ...own.properties, ...common.properties },
    required: [...new Set([...common.required ?? [], ...own.required ?? []])],
  };
  return {
    type: "object",
    description: definition.summary,
    required: [definition.type],
    additionalProperties: false,
    properties: { [definition.type]: fields },
  };
}

const MARK = "flowgen_block";
const blocks = [...BLOCKS];

/** Rules that only code can check (`v.check`, our own reading) are left to the runtime. */
const CONVERSION: ConversionConfig = {
  typeMode: "input",
  errorMode: "ignore",
  target: "draft-07",
  overrideSchema: ({ valibotSchema }) => {
    const index = (valibotSchema as unknown as Record<string, unknown>)[MARK];
    return typeof index === "number" ? blocks[index]![1] : undefined;
  },
};

/**
 * Puts a marked stand-in in place of each building block. The converter looks inside pipes before it
 * asks about them, so a described `Duration` would come out as plain text.
 */
function replaceBlocks(schema: v.GenericSchema): v.GenericSchema {
  return replace(schema as unknown as SchemaNode) as unknown as v.GenericSchema;
}

function replace(schema: SchemaNode): SchemaNode {
  const index = blocks.findIndex(([block]) => isSame(schema, block as SchemaNode));
  if (index >= 0) {
    const marked = { ...v.any(), [MARK]: index };
    const more = (schema.pipe ?? []).filter(({ kind }) => kind === "metadata");
    return (more.length > 0 ? { ...marked, pipe: [marked, ...more] } : marked) as SchemaNode;
  }
  const changed: Record<string, unknown> = { ...schema };
  if (schema.pipe) {
    changed["pipe"] = schema.pipe.map((part, at) => at === 0 ? replace({ ...part }) : part);
  }
  for (const key of ["wrapped", "item", "rest", "value"] as const) {
    const inner = schema[key];
    if (inner?.kind === "schema") changed[key] = replace(inner);
  }
  if (schema.entries) {
    changed["entries"] = Object.fromEntries(
      Object.entries(schema.entries).map(([key, inner]) => [key, replace(inner)]),
    );
  }
  if (["union", "variant", "intersect"].includes(schema.type)) {
    changed["options"] = (schema.options as SchemaNode[]).map(replace);
  }
  if (schema.items) changed["items"] = schema.items.map(replace);
  return changed as unknown as SchemaNode;
}

/** The block itself, or a pipe that starts with the block's own steps. */
function isSame(schema: SchemaNode, block: SchemaNode): boolean {
  if (schema === block) return true;
  const steps = schema.pipe?.[0] === block ? [] : schema.pipe;
  if (steps === undefined) return false;
  if (steps.length === 0) return true;
  return block.pipe !== undefined && block.pipe.every((step, at) => steps[at] === step);
}

/** `$schema` of the parts would repeat in each task. */
function strip({ $schema: _, ...schema }: JsonSchema): JsonSchema {
  return schema;
}
