import type { Clock } from "../core/clock.ts";
import type { Expiry } from "../flow/store.ts";

/** The instant from which an entry written now is invisible; `undefined` when it stays. */
export function deadline(clock: Clock, expiry: Expiry | undefined): number | undefined {
  const ttl = expiry?.ttl;
  return ttl === undefined || ttl === Infinity ? undefined : clock.now() + ttl;
}

export function isExpired(until: number | undefined, clock: Clock): boolean {
  return until !== undefined && until <= clock.now();
}
