import type { FlowError } from "../core/errors.ts";

/** Between deliveries of an event that fails: doubling from one second to five minutes. */
const FIRST_DELAY = 1_000;
const LONGEST_DELAY = 300_000;

/** These say that it was the wrong moment rather than the wrong event. */
const LATER = new Set(["delivery.timeout", "throttle.limited"]);

/** Whether the event itself is at fault; what is late or badly set up can be mended without it. */
export function isHopeless(cause: FlowError): boolean {
  return cause.remedy === "event" && !LATER.has(cause.code);
}

/**
 * Milliseconds until an event comes again after so many deliveries.
 *
 * @param chance In [0, 1), for the jitter of the delays that nobody chose.
 */
export function delayAfter(
  backoff: readonly number[] | undefined,
  deliveries: number,
  chance: number,
): number {
  if (backoff) return backoff[Math.min(deliveries, backoff.length) - 1]!;
  // 2^30 keeps the product finite; the cap makes more of it meaningless.
  const doubled = FIRST_DELAY * 2 ** Math.min(deliveries - 1, 30);
  return Math.min(doubled, LONGEST_DELAY) * (0.5 + chance);
}
