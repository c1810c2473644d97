import type { LogRecord } from "@logtape/logtape";

/**
 * One record as one line: `timestamp`, `level`, `logger`, `message`, then the record's fields. A field
 * that is called like one of the four is written with an underscore before it.
 */
export function jsonLine(record: LogRecord): string {
  const line: Record<string, unknown> = {
    timestamp: new Date(record.timestamp).toISOString(),
    level: record.level,
    logger: record.category.join("."),
    message: messageOf(record),
  };
  for (const [name, value] of Object.entries(record.properties)) {
    line[name in line ? `_${name}` : name] = value;
  }
  return toJson(line);
}

/** As written in the code. The logger would read braces in it as placeholders. */
export function messageOf({ rawMessage, message }: LogRecord): string {
  return typeof rawMessage === "string" ? rawMessage : message.join("");
}

/** JSON of anything: a field that cannot be shown must not lose the record. */
export function toJson(value: unknown, indent?: number): string {
  const readable = (_: string, one: unknown) => {
    if (typeof one === "bigint") return String(one);
    if (one instanceof Uint8Array) return one.toBase64();
    if (one instanceof Error) return describeError(one);
    return one;
  };
  try {
    return JSON.stringify(value, readable, indent) ?? "null";
  } catch {
    return JSON.stringify(Deno.inspect(value)); // It holds itself.
  }
}

function describeError(error: Error): Record<string, unknown> {
  const { code, hint } = error as { code?: unknown; hint?: unknown };
  return { name: error.name, message: error.message, code, hint };
}
