import { FlowError } from "../../core/errors.ts";
import type { FlowEvent } from "../../flow/event.ts";
import type { Field } from "../../flow/field.ts";

/** @throws {FlowError} `http.header_invalid`, and what templates throw. */
export function renderHeaders(
  map: Readonly<Record<string, Field<string>>>,
  event: FlowEvent,
): Headers {
  const headers = new Headers();
  for (const name in map) {
    const value = map[name]!.at(event);
    try {
      headers.set(name, value);
    } catch (cause) {
      // The value may be a secret, so it stays out.
      throw new FlowError("http.header_invalid", `Cannot send the header "${name}"`, {
        hint: "names are plain words; values are one line of Latin text",
        cause,
      });
    }
  }
  return headers;
}
