import type { Clock } from "../core/clock.ts";
import { FlowError } from "../core/errors.ts";
import type { Expiry } from "../flow/store.ts";

/** @throws {FlowError} `store.ttl_invalid` */
export function checkExpiry(expiry: Expiry | undefined): void {
  const ttl = expiry?.ttl;
  if (ttl === undefined || (typeof ttl === "number" && ttl > 0)) return;
  throw new FlowError("store.ttl_invalid", `Cannot keep an entry for ${ttl} ms`, {
    hint: "a ttl is a number of milliseconds greater than 0; leave it out to keep the entry",
  });
}

/** The instant from which an entry written now is invisible; `undefined` when it stays. */
export function deadline(clock: Clock, expiry: Expiry | undefined): number | undefined {
  const ttl = expiry?.ttl;
  return ttl === undefined || ttl === Infinity ? undefined : clock.now() + ttl;
}

export function isExpired(until: number | undefined, clock: Clock): boolean {
  return until !== undefined && until <= clock.now();
}
