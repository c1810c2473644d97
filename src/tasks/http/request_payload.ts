import * as v from "valibot";
import { FlowError } from "../../core/errors.ts";
import { type Data, type FlowEvent, isBytes, type Json } from "../../flow/event.ts";
import { TemplateJson, TemplateText } from "../../flow/schema.ts";

export const RequestPayload = v.strictObject({
  object: v.pipe(
    v.optional(TemplateJson),
    v.description("Value to send; its texts may be templates."),
  ),
  input: v.pipe(v.optional(TemplateText), v.description("JSON text to send, a template.")),
  from_event: v.pipe(
    v.optional(v.boolean(), false),
    v.description("Send the event's data; goes before `object`, which goes before `input`."),
  ),
  send_as: v.pipe(
    v.optional(v.picklist(["json", "urlencoded", "queryparams"]), "json"),
    v.description("As a JSON body, as a form, or in the query of the URL."),
  ),
});
export type RequestPayload = v.InferOutput<typeof RequestPayload>;

export interface Prepared {
  readonly body?: BodyInit;
  readonly contentType?: string;
  readonly query?: URLSearchParams;
}

const NOTHING: Prepared = {};

/**
 * What a request sends for one event.
 *
 * @throws {FlowError} `http.payload_invalid`, and what templates throw.
 */
export function preparePayload(payload: RequestPayload | undefined, event: FlowEvent): Prepared {
  if (!payload) return NOTHING;
  const data = valueOf(payload, event);
  if (data === undefined) return NOTHING;
  if (payload.send_as === "json") {
    return isBytes(data)
      ? { body: data as BodyInit, contentType: "application/octet-stream" }
      : { body: JSON.stringify(data), contentType: "application/json" };
  }
  const pairs = pairsOf(data);
  return payload.send_as === "queryparams" ? { query: pairs } : {
    body: pairs.toString(),
    contentType: "application/x-www-form-urlencoded",
  };
}

function valueOf(
  { from_event, object, input }: RequestPayload,
  event: FlowEvent,
): Data | undefined {
  if (from_event) return event.data;
  if (object) return object.at(event);
  if (!input) return undefined;
  try {
    return JSON.parse(input.at(event)) as Json;
  } catch (cause) {
    if (!(cause instanceof SyntaxError)) throw cause;
    throw new FlowError("http.payload_invalid", "The text of payload.input is not valid JSON", {
      hint: "use payload.object, which needs no quoting",
      cause,
    });
  }
}

/** A flat object as name and value pairs; lists repeat the name, `null` is left out. */
function pairsOf(data: Data): URLSearchParams {
  if (typeof data !== "object" || data === null || isBytes(data) || Array.isArray(data)) {
    throw notFlat("payload");
  }
  const pairs = new URLSearchParams();
  for (const [name, value] of Object.entries(data)) {
    for (const item of Array.isArray(value) ? value : [value]) {
      if (item === null) continue;
      if (typeof item === "object") throw notFlat(name);
      pairs.append(name, String(item));
    }
  }
  return pairs;
}

function notFlat(name: string): FlowError {
  return new FlowError("http.payload_invalid", `Cannot send "${name}" as name and value pairs`, {
    hint: "use an object of texts, numbers, booleans and lists of them, or send_as: json",
  });
}
