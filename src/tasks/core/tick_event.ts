import {
  type Data,
  type FlowEvent,
  type Json,
  type JsonObject,
  newEvent,
} from "../../flow/event.ts";
import type { Field } from "../../flow/field.ts";
import { isMap } from "../../flow/kind.ts";
import type { TickPlan, TickRecord } from "./tick.ts";

/** Unix seconds, as Flowgen has them; `last_run_time` is that of the run before. */
interface SystemInfo {
  readonly [key: string]: Json;
  readonly last_run_time: number | null;
}

/** The event of a claimed tick. */
export function tickEvent(
  payload: Field<Json> | undefined,
  name: string,
  record: TickRecord,
  { schedule, count, next }: TickPlan,
  now: number,
): FlowEvent {
  const isLast = count !== undefined && record.counter + 1 >= count;
  const nextRun = schedule && !isLast ? next(schedule, record.tick!) : null;
  const info: SystemInfo = {
    last_run_time: seconds(record.last_run),
    ...(nextRun !== null && { next_run_time: seconds(nextRun) }),
  };
  const data = payload ? payload.at(pseudoEvent(name, info, record.counter, now)) : {};
  return newEvent({ data: withSystemInfo(data, info), subject: name }, now);
}

/** What the templates of a payload see. `next_run_time` is always there, so that none can miss it. */
function pseudoEvent(subject: string, info: SystemInfo, counter: number, now: number): FlowEvent {
  const data = { system_info: { next_run_time: null, ...info }, counter };
  return { data, subject, timestamp: now * 1000, meta: {} };
}

function withSystemInfo(data: Data, info: SystemInfo): Data {
  return isMap(data) ? { ...data as JsonObject, system_info: info } : data;
}

function seconds(ms: number | null): number | null {
  return ms === null ? null : Math.floor(ms / 1000);
}

/**
 * Checks that a payload asks only for what is there.
 *
 * @throws {FlowError} `template.missing_path`, `template.not_text`
 */
export function checkPayload(payload: Field<Json> | undefined): void {
  payload?.at(pseudoEvent("check", { last_run_time: null }, 0, 0));
}
