import { FlowError, textOf } from "../core/errors.ts";
import type { Address } from "./address.ts";
import type { Credentials } from "./credentials.ts";

/** Why a first connection was not made. */
export function connectError(
  cause: unknown,
  { shown }: Address,
  credentials: Credentials | undefined,
): FlowError {
  if (cause instanceof FlowError) return cause;
  if (isRefusal(cause)) {
    return credentials
      ? new FlowError(
        "nats.auth_failed",
        `Cannot log in to NATS at ${shown}: the server refuses ${credentials.shown}`,
        { cause },
      )
      : new FlowError(
        "nats.auth_failed",
        `Cannot log in to NATS at ${shown}: the server asks for credentials`,
        { hint: "name a file that has them in credentials_path", cause },
      );
  }
  const why = reason(cause);
  if (isTls(cause)) {
    const text = `Cannot encrypt the connection to NATS at ${shown}: ${why}`;
    return new FlowError("nats.tls_failed", text, { hint: tlsHint(why), cause });
  }
  return new FlowError("nats.unavailable", `Cannot reach NATS at ${shown}: ${why}`, { cause });
}

/** Whether a server said no to who asked, rather than being late in checking. */
export function isRefusal(cause: unknown): boolean {
  return cause instanceof Error &&
    (cause.name === "AuthorizationError" || cause.name === "UserAuthenticationExpiredError") &&
    !/authentication timeout/i.test(cause.message);
}

function isTls(cause: unknown): boolean {
  for (let at = cause; at instanceof Error; at = at.cause) {
    if (/certificate|\btls\b|\bssl\b|handshake|received corrupt message/i.test(at.message)) {
      return true;
    }
  }
  return false;
}

function tlsHint(why: string): string {
  if (/asks for a certificate/.test(why)) {
    return "name one, and its key, in tls.cert_path and tls.key_path";
  }
  if (/does not support/.test(why)) return "leave tls out, or enable it on the server";
  return "name the server's certificate authority in tls.ca_path, and the server as its certificate does";
}

function reason(cause: unknown): string {
  if (cause instanceof Error && cause.name === "TimeoutError") return "it does not answer";
  const text = textOf(cause ?? "undefined error");
  // The client has no words of its own for a server that hangs up before it said anything.
  if (text.endsWith("undefined error")) return "it closed the connection";
  return text.trim().replace(/\.$/, "") || "the connection was not made";
}
