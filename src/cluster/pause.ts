/** Take-overs, without an owner that stayed, from which on the next one waits. */
const MANY_TAKEOVERS = 3;
/** The first wait; it doubles from take-over to take-over. */
const FIRST_PAUSE = 5_000;
const LONGEST_PAUSE = 300_000;

/** Milliseconds before a flow that may be what ends its owners is taken over once more. */
export function pauseAfter(takeovers: number): number {
  if (takeovers < MANY_TAKEOVERS) return 0;
  return Math.min(FIRST_PAUSE * 2 ** (takeovers - MANY_TAKEOVERS), LONGEST_PAUSE);
}
