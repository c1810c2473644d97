import type { FlowEvent } from "../../flow/event.ts";
import { Many, type Output } from "../../flow/task.ts";

/**
 * Several events, and a call when they have left.
 *
 * The engine follows single events to their end (`Tracked`) and not yet several at once, so this is
 * when the tasks behind have taken the last of them, not when they are done with it.
 */
export function followed(events: Iterable<FlowEvent>, done: () => void): Output {
  return new Many((function* () {
    yield* events;
    done();
  })());
}
