import { FlowError } from "../core/errors.ts";
import type { FlowEvent } from "../flow/event.ts";
import { Many, type Output, Tracked } from "../flow/task.ts";
import type { Node } from "./graph.ts";

export function isEvent(output: unknown): output is FlowEvent {
  return typeof output === "object" && output !== null && "data" in output;
}

/** Whether a task may answer so; the code of users may give anything. */
export function isOutput(output: unknown): output is Output {
  return isEvent(output) || output === null || output instanceof Many || output instanceof Tracked;
}

export function notAnEvent({ task }: Node, output: unknown): FlowError {
  const kind = typeof output;
  const what = kind === "undefined" ? kind : `${kind === "object" ? "an" : "a"} ${kind}`;
  return new FlowError(
    "task.output_invalid",
    `Task "${task.name}" gave ${what} in place of an event`,
    { hint: "return null to drop the event" },
  );
}
