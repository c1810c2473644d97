import type { LogRecord } from "@logtape/logtape";
import { messageOf, toJson } from "./log_json.ts";
import type { Paint } from "./paint.ts";
import { hasControl, visible, visibleLines } from "./visible.ts";
import { indented } from "./words.ts";

/** Columns that a value may take on the line of its record. */
const WIDE = 100;

/** Fields that may have several lines, in which our own errors are told; only their words come from outside. */
const LINES = new Set(["error", "stack"]);

/**
 * Records for a person at a terminal. No value can steer the terminal, or look like a record of its own:
 * what stands in further lines is indented.
 *
 * ```text
 * 12:00:01.250 info  Flow started  flow=orders version=4fa1b2c3d4e5
 * 12:00:02.001 info  orders › show  {"id":1}
 * ```
 */
export function prettyLine(record: LogRecord, paint: Paint): string {
  const { flow, task, ...fields } = record.properties;
  const time = paint.dim(timeOf(record.timestamp));
  const level = levelOf(record.level, paint);
  const isEvent = "event.subject" in fields && "data" in fields;
  if (isEvent) {
    const { data, ...rest } = fields;
    const where = paint.bold(visible([flow, task].filter(Boolean).join(" › ")));
    return `${time} ${level} ${where}${valueText(data)}${fieldsText(eventFields(rest), paint)}`;
  }
  const all = {
    ...(flow !== undefined && { flow }),
    ...(task !== undefined && { task }),
    ...fields,
  };
  const [message, ...more] = visibleLines(messageOf(record)).split("\n");
  const rest = more.map((line) => `\n${indented(line)}`).join("");
  return `${time} ${level} ${message}${fieldsText(all, paint)}${rest}`;
}

/** What the `log` task says of an event beside its data, where it is worth a look. */
function eventFields(fields: Record<string, unknown>): Record<string, unknown> {
  const { "event.subject": _, "event.id": id, ...rest } = fields;
  return id === null || id === undefined ? rest : { id, ...rest };
}

function valueText(value: unknown): string {
  const line = jsonText(value);
  return line.length <= WIDE ? `  ${line}` : `\n${indented(jsonText(value, 2))}`;
}

/** Short fields on the line, texts of several lines below it. */
function fieldsText(fields: Record<string, unknown>, { cyan, dim }: Paint): string {
  const short: string[] = [];
  const long: string[] = [];
  for (const [name, value] of Object.entries(fields)) {
    if (value === undefined) continue;
    const text = typeof value === "string" ? value : jsonText(value);
    if (LINES.has(name) && text.includes("\n")) long.push(indented(visibleLines(text)));
    else if (text.length > WIDE && typeof value !== "string") {
      long.push(`  ${cyan(visible(name))}\n${indented(jsonText(value, 2))}`);
    } else short.push(`${cyan(visible(name))}${dim("=")}${quoted(text)}`);
  }
  const first = short.length > 0 ? `  ${short.join(" ")}` : "";
  return [first, ...long].join("\n");
}

/** JSON leaves some control characters as they are. */
function jsonText(value: unknown, indent?: number): string {
  return visibleLines(toJson(value, indent));
}

function quoted(text: string): string {
  const plain = text !== "" && !hasControl(text) && (!/[\s"]/.test(text) || /^[[{]/.test(text));
  return plain ? text : visible(JSON.stringify(text));
}

function levelOf(level: LogRecord["level"], { dim, red, yellow, green }: Paint): string {
  const name = level === "warning" ? "warn " : level.padEnd(5);
  if (level === "error" || level === "fatal") return red(name);
  if (level === "warning") return yellow(name);
  return level === "info" ? green(name) : dim(name);
}

/** Local time: it is a person's watch that it is compared with. */
function timeOf(timestamp: number): string {
  const date = new Date(timestamp);
  const two = (part: number) => String(part).padStart(2, "0");
  const time = [date.getHours(), date.getMinutes(), date.getSeconds()].map(two).join(":");
  return `${time}.${String(date.getMilliseconds()).padStart(3, "0")}`;
}
