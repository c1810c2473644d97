import { FlowError } from "../../core/errors.ts";
import { headerText } from "../header.ts";

/** What a credentials file holds: `{"token": "...", "username": "..."}`. */
interface Credentials {
  readonly token: string;
  readonly username: string;
}

/** The name that GitHub, GitLab and Gitea accept together with a token. */
const DEFAULT_USER = "x-access-token";

/**
 * The `Authorization` header for a challenge (RFC 9110, 11.6.1): Basic where the server offers it,
 * for that is what Git hosts understand; Bearer where the server asks for nothing else.
 *
 * @param challenge The `WWW-Authenticate` header.
 * @param content The credentials file as JSON.
 * @throws {FlowError} `source.credentials_invalid`
 */
export function answerChallenge(challenge: string | null, content: unknown): string {
  const { token, username } = readCredentials(content);
  const unquoted = headerText(challenge).replace(/"(?:[^"\\]|\\.)*"/g, "");
  const schemes = [...unquoted.matchAll(/(?:^|,)\s*(basic|bearer)\b/gi)]
    .map(([, scheme]) => scheme!.toLowerCase());
  if (schemes.includes("bearer") && !schemes.includes("basic")) return `Bearer ${token}`;
  return `Basic ${new TextEncoder().encode(`${username}:${token}`).toBase64()}`;
}

function readCredentials(content: unknown): Credentials {
  const { token, username = DEFAULT_USER } = (content ?? {}) as Partial<Credentials>;
  if (typeof token !== "string" || token === "") throw invalid("they have no token");
  if (typeof username !== "string" || username.includes(":")) {
    throw invalid("the username is no text without a colon");
  }
  // deno-lint-ignore no-control-regex
  if (/[\x00-\x1f\x7f]/.test(token + username)) throw invalid("they hold a control character");
  return { token, username };
}

function invalid(reason: string): FlowError {
  return new FlowError("source.credentials_invalid", `Cannot use the Git credentials: ${reason}`, {
    hint: `write {"token": "...", "username": "..."}; username is "${DEFAULT_USER}" when left out`,
  });
}
