import * as v from "valibot";
import { routeShape } from "../../flow/http.ts";

const PARAM = /^:[A-Za-z_][A-Za-z0-9_]*$/;

/** A path below the server's prefix, such as `/orders/:id`. */
export const EndpointPath = v.pipe(
  v.string(),
  v.startsWith("/", 'Expected a path that starts with "/"'),
  v.regex(
    /^[^?#*%{}\\]*$/,
    "Expected a plain path: no query, no wildcards, and nothing percent-encoded",
  ),
  v.check(
    (path) => params(path).every((part) => PARAM.test(part)),
    'Expected params such as ":id", each a whole part of the path',
  ),
  v.check(
    (path) => new Set(params(path)).size === params(path).length,
    "Expected each param only once",
  ),
);

function params(path: string): string[] {
  return path.split("/").filter((part) => part.startsWith(":"));
}

/** The route as other flows see it: names of params do not tell two routes apart. */
export function routeClaim(method: string, path: string): string {
  return `http ${method} ${routeShape(path)}`;
}
