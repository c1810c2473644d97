import type * as v from "valibot";
import type { Way } from "./schema_walk.ts";

/** What a field wants, by the rule that was broken: `a whole number`, `at least 1`. */
export function describeWanted(issue: v.BaseIssue<unknown>, ways: readonly Way[]): string {
  if (issue.kind === "schema") {
    const names = [...new Set(ways.map(nameOf))].filter((name) => name !== undefined);
    if (names.length > 0) return names.join(" or ");
    return NAMES[issue.type] ?? "another value";
  }
  const limit = issue.requirement;
  switch (issue.type) {
    case "integer":
    case "safe_integer":
      return NAMES.integer!;
    case "min_value":
      return `at least ${limit}`;
    case "max_value":
      return `at most ${limit}`;
    case "gt_value":
      return `more than ${limit}`;
    case "lt_value":
      return `less than ${limit}`;
    case "non_empty":
      return Array.isArray(issue.input) ? "a list that is not empty" : "text that is not empty";
    case "min_length":
      return `at least ${limit} ${unitOf(issue.input)}`;
    case "max_length":
      return `at most ${limit} ${unitOf(issue.input)}`;
    case "url":
      return "a URL";
    case "regex":
      return `text that matches ${limit}`;
  }
  return issue.expected ?? "another value";
}

/** What stands there; without its value where that is secret. */
export function describeGot(value: unknown, hidden: boolean): string {
  if (value === undefined || value === null) return "nothing";
  if (Array.isArray(value)) return "a list";
  if (typeof value === "object") return "a map";
  if (typeof value === "boolean") return String(value);
  const kind = typeof value === "number" ? "number" : "text";
  if (hidden) return kind === "text" ? "text" : "a number";
  if (typeof value === "number") return `number ${value}`;
  const line = String(value).split("\n", 1)[0]!;
  const short = line.length > 60 || line !== value ? `${line.slice(0, 60)}…` : line;
  return `${kind} "${short}"`;
}

/** How the same value would be right, where it is a matter of quotes or brackets. */
export function writeInstead(wanted: string, value: unknown): string | undefined {
  if (typeof value === "string") {
    const isNumber = value.trim() !== "" && Number.isFinite(Number(value));
    if (isNumber && wanted.includes("number")) return `write ${value.trim()} without quotes`;
    if (wanted.includes("true or false")) {
      if (/^(true|yes|on)$/i.test(value)) return "write true, without quotes";
      if (/^(false|no|off)$/i.test(value)) return "write false, without quotes";
    }
    if (wanted === "a list" && value.length <= 40) return `write ["${value}"]`;
  }
  if ((typeof value === "number" || typeof value === "boolean") && wanted === "text") {
    return `write "${value}" in quotes`;
  }
  return undefined;
}

const NAMES: Record<string, string> = {
  string: "text",
  number: "a number",
  integer: "a whole number",
  boolean: "true or false",
  array: "a list",
  tuple: "a list",
  strict_tuple: "a list",
  object: "a map",
  strict_object: "a map",
  loose_object: "a map",
  record: "a map",
  null: "null",
};

function nameOf({ schema, actions }: Way): string | undefined {
  const whole = schema.type === "number" &&
    actions.some(({ type }) => type === "integer" || type === "safe_integer");
  return NAMES[whole ? "integer" : schema.type];
}

function unitOf(value: unknown): string {
  return Array.isArray(value) ? "items" : "characters";
}
