import * as v from "valibot";
import { FlowError } from "../../core/errors.ts";

const CredentialsFile = v.object({
  bearer_auth: v.optional(v.pipe(v.string(), v.nonEmpty())),
  basic_auth: v.optional(
    v.object({ username: v.string(), password: v.pipe(v.string(), v.nonEmpty()) }),
  ),
});

/** Ready values of the `Authorization` header, for sending and for comparing. */
export interface Credentials {
  readonly bearer?: string;
  readonly basic?: string;
}

/**
 * Reads `{ "bearer_auth": "…", "basic_auth": { "username", "password" } }`. A file that holds neither
 * is an error: an endpoint without its credentials would be open, or closed for everybody.
 *
 * @throws {FlowError} `http.credentials_invalid`
 */
export async function readCredentials(path: string): Promise<Credentials> {
  let content: unknown;
  try {
    content = JSON.parse(await Deno.readTextFile(path));
  } catch (cause) {
    // A parser's message may quote the file, so only the kind of trouble is told.
    const problem = cause instanceof SyntaxError ? "it is not valid JSON" : "cannot read it";
    throw invalid(path, problem);
  }
  const parsed = v.safeParse(CredentialsFile, content);
  if (!parsed.success) throw invalid(path, "its fields are not as expected");
  const { bearer_auth, basic_auth } = parsed.output;
  if (!bearer_auth && !basic_auth) throw invalid(path, "it has no credentials");
  return {
    ...(bearer_auth && { bearer: `Bearer ${bearer_auth}` }),
    ...(basic_auth && { basic: basicHeader(basic_auth.username, basic_auth.password) }),
  };
}

function invalid(path: string, problem: string): FlowError {
  return new FlowError(
    "http.credentials_invalid",
    `Cannot use the credentials file ${path}: ${problem}`,
    { hint: 'write {"bearer_auth": "…"} or {"basic_auth": {"username": "…", "password": "…"}}' },
  );
}

/** The `Authorization` header of RFC 7617, in UTF-8. */
export function basicHeader(username: string, password: string): string {
  return `Basic ${new TextEncoder().encode(`${username}:${password}`).toBase64()}`;
}

/** Whether the `Authorization` header of a request fits; either kind will do. */
export function allows(credentials: Credentials, header: string | null): boolean {
  if (header === null) return false;
  const given = normalScheme(header);
  // Both are always compared, so the time says nothing about which one was closer.
  const bearer = credentials.bearer !== undefined && sameText(given, credentials.bearer);
  const basic = credentials.basic !== undefined && sameText(given, credentials.basic);
  return bearer || basic;
}

/** What a client is told to send. */
export function challenge({ bearer, basic }: Credentials): string {
  return [bearer && "Bearer", basic && 'Basic realm="flowgen", charset="UTF-8"']
    .filter(Boolean).join(", ");
}

/** The token of a bearer header, `null` when it is something else. */
export function bearerToken(header: string | null): string | null {
  const given = header === null ? "" : normalScheme(header);
  return given.startsWith("Bearer ") ? given.slice(7).trim() : null;
}

/** Schemes may be written in any case (RFC 9110, 11.1). */
function normalScheme(header: string): string {
  return header.replace(/^(bearer|basic) +/i, (scheme) => {
    return scheme[1]!.toLowerCase() === "e" ? "Bearer " : "Basic ";
  });
}

/** Compares in a time that depends on the length of `given` only, which its sender knows. */
function sameText(given: string, secret: string): boolean {
  let difference = given.length ^ secret.length;
  for (let i = 0; i < given.length; i++) {
    difference |= given.charCodeAt(i) ^ secret.charCodeAt(i % secret.length);
  }
  return difference === 0;
}
