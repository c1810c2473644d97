/**
 * Writes docs/task-reference.md from the definitions of all tasks: `deno run -A docs/generate.ts`.
 * `tests/docs_test.ts` checks that the page is up to date.
 */
import { stringify } from "yaml";
import { CommonFields } from "../src/flow/common_fields.ts";
import * as schema from "../src/flow/schema.ts";
import type { SchemaNode } from "../src/flow/schema_walk.ts";
import type { TaskDefinition, TaskExample } from "../src/flow/task.ts";
import { builtinTasks } from "../src/tasks/mod.ts";

export const REFERENCE = new URL("task-reference.md", import.meta.url);

/** What the building blocks of `flow/schema.ts` are called; everything else goes by its type. */
const BLOCKS = new Map<unknown, string>([
  [schema.Duration, "duration"],
  [schema.ByteSize, "size"],
  [schema.Count, "whole number from 1"],
  [schema.Text, "text or resource"],
  [schema.AnyJson, "any value"],
  [schema.TemplateText, "text, template"],
  [schema.TemplateNumber, "number, template"],
  [schema.TemplateBoolean, "true or false, template"],
  [schema.TemplateJson, "any value, templates"],
  [schema.TemplateMap, "map of texts, templates"],
]);

const TYPES: Record<string, string> = {
  string: "text",
  number: "number",
  boolean: "true or false",
  array: "list",
  strict_object: "map",
  record: "map",
  null: "`null`",
};

/** The page as Markdown. */
export function taskReference(definitions: readonly TaskDefinition[]): string {
  const chapters = definitions.map((definition) => chapter(definition));
  const links = definitions.map(({ type, summary }) => `- [\`${type}\`](#${type}): ${summary}`);
  return [
    "<!-- deno-fmt-ignore-file -->",
    "<!-- Made by docs/generate.ts from the definitions in src/tasks; edit those. -->",
    "# Task reference",
    intro,
    links.join("\n"),
    "## Fields of every task",
    commonIntro,
    table(CommonFields as unknown as SchemaNode),
    ...chapters,
  ].join("\n\n") + "\n";
}

const intro =
  `Durations are text such as \`30s\`, \`500ms\` or \`1h 30m\`; sizes are numbers of bytes or text \
such as \`64MiB\`. A *template* may hold \`{{event.data.…}}\`; alone it keeps the value's type. *Text or \
resource* is text, or \`{ resource: "key" }\` for a file below \`resources.path\`.`;

const commonIntro =
  `\`concurrency\` and \`ordered\` belong to tasks that receive events, \`max_in_flight\`, \
\`max_in_flight_bytes\` and \`ack_timeout\` to sources, \`reply\` to sources that answer requests. See \
[flows.md](flows.md).`;

function chapter(definition: TaskDefinition): string {
  const { type, summary, config, examples } = definition;
  return [
    `## ${type}`,
    summary,
    `*${roleOf(definition)}*`,
    table(config as unknown as SchemaNode),
    ...examples.map((example) => exampleOf(type, example)),
  ].join("\n\n");
}

function roleOf(definition: TaskDefinition): string {
  switch (definition.mode) {
    case "source":
      if (definition.request) return "Source; answers requests.";
      return definition.window === 1
        ? "Source; one delivery at a time."
        : `Source; up to ${definition.window ?? 1024} deliveries at once.`;
    case "sync":
      return "Processor; never waits.";
    case "collect":
      return "Processor; keeps events until a batch is complete.";
    case "async":
      return `Processor; waits, up to ${definition.concurrency ?? 16} events at once.`;
    case "either":
      return "Processor; whether it waits depends on its configuration.";
  }
}

function table(map: SchemaNode): string {
  const rows = rowsOf(map, "");
  if (rows.length === 0) return "No fields of its own.";
  return ["| field | value | when left out | |", "| --- | --- | --- | --- |", ...rows].join("\n");
}

/** A row per field; fields of a map inside come after it, as `retry.max_attempts`. */
function rowsOf(map: SchemaNode, prefix: string): string[] {
  return Object.entries(map.entries ?? {}).flatMap(([name, field]) => {
    const { node, about, fallback } = unwrap(field);
    const row = `| \`${prefix}${name}\` | ${kindOf(node)} | ${fallback} | ${cell(about)} |`;
    return BLOCKS.has(node) ? [row] : [row, ...rowsOf(node, `${prefix}${name}.`)];
  });
}

interface Unwrapped {
  /** The schema itself, or the building block it is. */
  readonly node: SchemaNode;
  readonly about: string;
  readonly fallback: string;
}

/** Looks through `optional`, `nullable` and pipes for what people write, and what is said about it. */
function unwrap(field: SchemaNode): Unwrapped {
  let node = field;
  let about = "";
  let fallback = "*required*";
  for (;;) {
    about ||= descriptionOf(node);
    if (BLOCKS.has(node)) break;
    if (node.type === "optional" || node.type === "nullish") {
      const given = (node as { default?: unknown }).default;
      if (!node.pipe) fallback = given === undefined ? "" : `\`${shown(given)}\``;
    }
    if (node.pipe) node = node.pipe[0]!;
    else if (node.wrapped) node = node.wrapped;
    else break;
  }
  return { node, about, fallback };
}

function descriptionOf({ pipe }: SchemaNode): string {
  const action = pipe?.find(({ type }) => type === "description");
  return (action as { description?: string } | undefined)?.description ?? "";
}

function kindOf(node: SchemaNode): string {
  const block = BLOCKS.get(node);
  if (block !== undefined) return block;
  switch (node.type) {
    case "picklist":
      return (node.options as string[]).map((option) => `\`${option}\``).join(", ");
    case "literal":
      return `\`${node.literal}\``;
    case "union":
      return [...new Set((node.options as SchemaNode[]).map((one) => kindOf(unwrap(one).node)))]
        .join(" or ");
    case "array":
      return node.item ? `list: ${kindOf(unwrap(node.item).node)}` : "list";
  }
  return TYPES[node.type] ?? "value";
}

function shown(value: unknown): string {
  return typeof value === "string" ? value : JSON.stringify(value);
}

/** Stands in one line of a table. */
function cell(text: string): string {
  return text.replaceAll("|", "\\|").replaceAll("\n", " ");
}

function exampleOf(type: string, { title, now, config, input, output }: TaskExample): string {
  const yaml = stringify([{ [type]: { name: "example", ...config } }], { lineWidth: 90 }).trimEnd();
  const lines = [`**${title}**`, `\`\`\`yaml\n${yaml}\n\`\`\``];
  if (input && output) {
    const at = now === undefined ? "" : ` (at ${now})`;
    lines.push(`${list("In", input)}${at} ${list("Out", output)}`);
  }
  return lines.join("\n\n");
}

function list(label: string, values: readonly unknown[]): string {
  const shown = values.map((value) => `\`${JSON.stringify(value)}\``);
  return `${label}: ${shown.length === 0 ? "nothing" : shown.join(", ")}.`;
}

if (import.meta.main) Deno.writeTextFileSync(REFERENCE, taskReference(builtinTasks));
