import { FlowError } from "../core/errors.ts";
import { Template, unguard } from "../template/template.ts";
import { eventView, type FlowEvent, type Json } from "./event.ts";
import { kindOf } from "./kind.ts";

/** A config value that may depend on the event: made by `Templated` and its kin in `schema.ts`. */
export interface Field<T> {
  /** The value, where it is the same for every event. */
  readonly constant?: T;
  /** @throws {FlowError} `template.missing_path`, `template.not_text`, `template.cast` */
  at(event: FlowEvent): T;
}

export function constantField<T>(value: T): Field<T> {
  return { constant: value, at: () => value };
}

/** Checks that a template asks only for what events have. */
export function compileTemplate(text: string): Template {
  const template = new Template(text);
  for (const [root, name] of template.paths) {
    if (root !== "event") {
      throw new FlowError("template.syntax", `Cannot use "{{${root}…}}" here`, {
        hint: "templates know event.data, event.subject, event.id, event.meta, event.error and env",
      });
    }
    if (name !== undefined && !EVENT_FIELDS.has(name)) {
      throw new FlowError("template.syntax", `An event has no field "${name}"`, {
        hint: `did you mean event.data.${name}?`,
      });
    }
  }
  return template;
}

const EVENT_FIELDS = new Set(["data", "subject", "id", "timestamp", "meta", "error"]);

/** A field of one type: literal text is cast once, templates at each event. */
export function textField<T>(text: string, cast: (value: unknown, text: string) => T): Field<T> {
  if (!Template.isTemplate(text)) {
    const literal = unguard(text);
    return constantField(cast(literal, literal));
  }
  const template = compileTemplate(text);
  return { at: (event) => cast(template.render({ event: eventView(event) }), text) };
}

/** A tree in which every text may be a template. Keys are taken as they are. */
export function jsonField(tree: Json): Field<Json> {
  const make = compileTree(tree);
  if (!make) return constantField(unguard(tree));
  return { at: (event) => make({ event: eventView(event) }) };
}

type Make = (scope: { event: unknown }) => Json;

/** `null` where nothing in the tree is a template, so that it can be shared as it is. */
function compileTree(tree: Json): Make | null {
  if (typeof tree === "string") {
    if (!Template.isTemplate(tree)) return null;
    const template = compileTemplate(tree);
    return (scope) => template.render(scope) as Json;
  }
  if (typeof tree !== "object" || tree === null) return null;
  const parts = Object.entries(tree).map(([key, value]) =>
    [key, unguard(value as Json), compileTree(value as Json)] as const
  );
  if (parts.every(([, , make]) => make === null)) return null;
  if (Array.isArray(tree)) {
    return (scope) => parts.map(([, value, make]) => make ? make(scope) : value);
  }
  return (scope) =>
    Object.fromEntries(parts.map(([key, value, make]) => [key, make ? make(scope) : value]));
}

export function castText(value: unknown, text: string): string {
  if (typeof value === "string") return value;
  if (typeof value === "number" || typeof value === "boolean") return String(value);
  throw cannotCast(text, "text", value);
}

export function castNumber(value: unknown, text: string): number {
  const number = typeof value === "string" && value.trim() !== "" ? Number(value) : value;
  if (typeof number === "number" && Number.isFinite(number)) return number;
  throw cannotCast(text, "a number", value);
}

export function castBoolean(value: unknown, text: string): boolean {
  if (value === true || value === "true") return true;
  if (value === false || value === "false") return false;
  throw cannotCast(text, "true or false", value);
}

function cannotCast(text: string, wanted: string, value: unknown): FlowError {
  const gave = kindOf(value);
  return new FlowError("template.cast", `Cannot make ${wanted} of "${text}": it gave ${gave}`);
}
