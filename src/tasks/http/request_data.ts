import type { JsonObject } from "../../flow/event.ts";
import { pathOf, queryOf } from "../../flow/http.ts";
import { namedValues } from "./named_values.ts";

const NO_QUERY: JsonObject = Object.freeze({});

/** Path and query of a request; the path is as it was sent, with the server's prefix. */
export function locationOf(url: string): { path: string; query: JsonObject } {
  const query = queryOf(url);
  return {
    path: pathOf(url),
    query: query === "" ? NO_QUERY : namedValues(new URLSearchParams(query)),
  };
}

/** The headers of `names`, which are in lower case. */
export function pickHeaders(headers: Headers, names: ReadonlySet<string>): JsonObject {
  const picked: Record<string, string> = {};
  for (const name of names) {
    const value = headers.get(name);
    if (value !== null) picked[name] = value;
  }
  return picked;
}
