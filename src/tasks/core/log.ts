import * as v from "valibot";
import { jsonView } from "../../flow/event.ts";
import { defineTask } from "../../flow/task.ts";

/** Flowgen's level names, and the logger's. */
const METHODS = {
  trace: "trace",
  debug: "debug",
  info: "info",
  warn: "warning",
  error: "error",
} as const;

/** Writes each event to the log and hands it on unchanged. */
export const log = defineTask({
  type: "log",
  mode: "sync",
  summary: "Writes events to the log and passes them on unchanged.",
  config: v.strictObject({
    level: v.optional(
      v.pipe(
        v.picklist(["trace", "debug", "info", "warn", "error"]),
        v.description("Level of the log records."),
      ),
      "info",
    ),
    include_meta: v.optional(
      v.pipe(v.boolean(), v.description("Whether the records carry the event's `meta` too.")),
      false,
    ),
  }),
  examples: [{
    title: "See what a flow does",
    config: { level: "debug", include_meta: true },
    input: [{ id: 1 }],
    output: [{ id: 1 }],
  }],
  create({ config: { level, include_meta }, log }) {
    const method = METHODS[level];
    return (event, emit) => {
      log[method]("Event", {
        "event.subject": event.subject,
        "event.id": event.id ?? null,
        data: jsonView(event.data),
        ...(include_meta && { meta: event.meta }),
        ...(event.error && { error: event.error }),
      });
      emit(event);
    };
  },
});
