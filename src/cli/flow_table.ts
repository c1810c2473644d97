import { formatDuration } from "../core/duration.ts";
import { FlowError } from "../core/errors.ts";
import type { FlowState, FlowStatus } from "../reconcile/status.ts";
import { formatFindings } from "./output.ts";
import type { Paint } from "./paint.ts";
import { visible } from "./visible.ts";
import { aligned, indented, shortNode, widthsOf } from "./words.ts";

const COLOURS: Record<FlowState, keyof Paint> = {
  running: "green",
  standby: "cyan",
  degraded: "yellow",
  invalid: "red",
  disabled: "dim",
  stopped: "dim",
};

/** Flows and their states; what is wrong with one stands below it. */
export function flowTable(
  flows: readonly FlowStatus[],
  paint: Paint,
  /** Milliseconds since 1970, for the columns of a flow that has run for a while. */
  now?: number,
): string {
  const elected = now !== undefined && flows.some(({ owner }) => owner !== undefined);
  const rows = flows.map((flow) => [
    visible(flow.identity),
    flow.state,
    ...(now === undefined ? [visible(flow.file)] : [
      formatDuration(Math.max(0, now - Date.parse(flow.since))),
      String(flow.open),
      String(flow.tasks[0]?.events ?? 0),
      String(flow.tasks.reduce((sum, { failed }) => sum + failed, 0)),
      flow.running ?? "-",
    ]),
    ...(elected ? [shortNode(flow.owner), String(flow.epoch || "-")] : []),
  ]);
  const heads = now === undefined
    ? ["FLOW", "STATE", "FILE"]
    : ["FLOW", "STATE", "FOR", "OPEN", "EVENTS", "FAILED", "VERSION"];
  if (elected) heads.push("OWNER", "EPOCH");
  const widths = widthsOf([heads, ...rows]);
  const line = (cells: readonly string[]) => aligned(cells, widths);
  const lines = [paint.dim(line(heads))];
  flows.forEach((flow, at) => {
    const text = line(rows[at]!);
    // After padding: colours have no width.
    const start = widths[0]! + 2;
    const end = start + flow.state.length;
    lines.push(text.slice(0, start) + paint[COLOURS[flow.state]](flow.state) + text.slice(end));
    if (flow.error) lines.push(indented(describe(flow.error, paint)));
  });
  return lines.join("\n");
}

function describe(error: NonNullable<FlowStatus["error"]>, paint: Paint): string {
  return formatFindings([new FlowError(error.code, error.message, error)], paint);
}
