import { FlowError } from "../../core/errors.ts";

/** What a script hears that asks for something when its event is over. */
export const OVER = "The event is over";

export function timeoutError(task: string, timeout: number): FlowError {
  return new FlowError("script.timeout", `Script "${task}" took longer than ${timeout} ms`, {
    hint: "make the script do less for each event, or raise limits.timeout",
  });
}
