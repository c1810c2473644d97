import { SECRET_KEY } from "../flow/check.ts";
import type { Config } from "./schema.ts";

/** The configuration as people may see it: secrets and the user part of addresses are `***`. */
export function maskConfig(config: Config): unknown {
  return mask(config, "");
}

function mask(value: unknown, key: string): unknown {
  if (typeof value === "string") return isSecret(key) ? "***" : maskUrl(value);
  if (Array.isArray(value)) return value.map((item) => mask(item, key));
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([name, item]) => [name, mask(item, name)]));
}

/** A path to a secret is none. */
function isSecret(key: string): boolean {
  return SECRET_KEY.test(key) && !/_(path|root|url)$/.test(key);
}

/** `nats://user:pass@host?token=x` as `nats://***@host?***`; the scheme may be missing. */
function maskUrl(text: string): string {
  return text
    .replace(/^([a-z][\w+.-]*:\/\/)?[^\s/@]+@(?=[^\s@]+$)/i, "$1***@")
    .replace(/^([a-z][\w+.-]*:\/\/[^?\s]*)\?\S+$/i, "$1?***");
}
