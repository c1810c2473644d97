import { textOf } from "./errors.ts";

/** The innermost reason of a failed `fetch`; what lies around it quotes the URL with its query. */
export function reasonOf(cause: unknown): string {
  let inner = cause;
  while (inner instanceof Error && inner.cause instanceof Error) inner = inner.cause;
  return textOf(inner)
    .replace(/ for url \([^)]*\)/g, "")
    .replace(/\b(https?:\/\/)(?:[^\s/@]*@)?([^\s?#]*)(?:[?#]\S*)?/g, "$1$2");
}

/** What mends a reason that `reasonOf` gave, where that is known. */
export function hintOf(reason: string): string | undefined {
  return reason.includes("invalid peer certificate: UnknownIssuer")
    ? "where its certificate is from an authority of your own, set DENO_CERT to that one's PEM file"
    : undefined;
}

/**
 * Milliseconds that a `Retry-After` header asks for: seconds or an HTTP date (RFC 9110, 10.2.3).
 *
 * @param now Milliseconds since 1970.
 * @returns `undefined` when there is none or it makes no sense.
 */
export function retryAfter(header: string | null, now: number): number | undefined {
  if (header === null) return undefined;
  if (/^\s*\d+\s*$/.test(header)) return Number(header) * 1000;
  const date = Date.parse(header);
  return Number.isNaN(date) ? undefined : Math.max(0, date - now);
}
