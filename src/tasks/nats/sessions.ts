import { type Clock, sleep } from "../../core/clock.ts";
import { FlowError } from "../../core/errors.ts";
import type { Random } from "../../core/random.ts";
import { natsError } from "../../nats/errors.ts";
import type { SourceOutput } from "../../flow/task.ts";

/** Without a connection for so long a session gives up, which shows. Milliseconds. */
export const PATIENCE = 9_000;

/** Between sessions: doubling, in milliseconds. */
const FIRST_PAUSE = 500;
const LONGEST_PAUSE = 30_000;
/** A session that lasted this long had begun well. Milliseconds. */
const WELL_AFTER = 10_000;

export interface SessionOptions {
  readonly output: SourceOutput;
  readonly clock: Clock;
  readonly random: Random;
  /** Completes "Cannot …". */
  readonly what: string;
  /** Takes in until the source shall stop, and rejects when it cannot go on. */
  session(): Promise<void>;
}

/**
 * Runs a source's sessions, one after another, until it shall stop. Between two of them the flow is in
 * trouble and shows why.
 */
export async function inSessions(
  { output, clock, random, what, session }: SessionOptions,
): Promise<void> {
  const { signal } = output;
  for (let attempt = 0; !signal.aborted; attempt++) {
    const since = clock.monotonic();
    try {
      return await session();
    } catch (cause) {
      if (signal.aborted) return;
      const error = natsError(cause, what);
      output.trouble(error);
      if (clock.monotonic() - since > WELL_AFTER) attempt = 0;
      const pause = Math.min(FIRST_PAUSE * 2 ** Math.min(attempt, 30), LONGEST_PAUSE);
      await sleep(clock, pause * (0.5 + random.next()), signal);
    }
  }
}

/** @param trouble As the lease says it. */
export function lostConnection(trouble: string): FlowError {
  return new FlowError("nats.unavailable", `Cannot receive from NATS: ${trouble}`);
}
