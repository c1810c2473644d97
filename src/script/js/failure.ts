import { FlowError } from "../../core/errors.ts";

export function timeoutError(task: string, timeout: number): FlowError {
  return new FlowError("script.timeout", `Script "${task}" took longer than ${timeout} ms`, {
    hint: "make the script do less for each event, or raise limits.timeout",
  });
}
