import { type FlowError, isTransient, toFlowError } from "../core/errors.ts";
import type { Random } from "../core/random.ts";
import type { RetryPolicy } from "../flow/schema.ts";

export const DEFAULT_RETRY: RetryPolicy = {
  max_attempts: 10,
  initial_backoff: 1_000,
  max_backoff: 300_000,
};

/** Longest wait that the other side may ask for: an hour, in milliseconds. */
const LONGEST_ASKED = 3_600_000;

/** Milliseconds before attempt `attempt + 1`: doubling, capped, times 0.5 to 1.5. */
export function backoff(policy: RetryPolicy, attempt: number, random: Random): number {
  // 2^30 keeps the product finite; the cap makes more of it meaningless.
  const doubled = policy.initial_backoff * 2 ** Math.min(attempt - 1, 30);
  return Math.min(doubled, policy.max_backoff) * (0.5 + random.next());
}

/** Milliseconds to wait before trying again, or `null` when that is over or would not help. */
export function retryDelay(
  policy: RetryPolicy,
  attempt: number,
  cause: unknown,
  random: Random,
): number | null {
  if (!isTransient(cause)) return null;
  if (policy.max_attempts !== null && attempt >= Math.max(1, policy.max_attempts)) return null;
  const asked: FlowError["retryAfter"] = toFlowError(cause).retryAfter;
  return Math.max(Math.min(asked ?? 0, LONGEST_ASKED), backoff(policy, attempt, random));
}
