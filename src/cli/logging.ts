import { configureSync } from "@logtape/logtape";
import type { Config } from "../config/load.ts";
import type { LogLevel } from "../core/log.ts";
import { jsonLine } from "./log_json.ts";
import { prettyLine } from "./log_pretty.ts";
import { lineSink } from "./log_sink.ts";
import type { Output } from "./output.ts";

export interface LoggingOptions {
  readonly level: LogLevel;
  readonly json: boolean;
  readonly stream: typeof Deno.stdout;
  readonly paint: Output["paint"];
}

/**
 * Sends the log of this process to a stream.
 *
 * @returns a function that writes what still waits, for the end of the process.
 */
export function startLogging({ level, json, stream, paint }: LoggingOptions): () => void {
  const { sink, flush } = lineSink(
    stream,
    json ? jsonLine : (record) => prettyLine(record, paint),
  );
  configureSync({
    sinks: { sink },
    loggers: [
      { category: "flowgen", sinks: ["sink"], lowestLevel: level },
      // The logger's own notes; the one at info greets everybody at start-up.
      { category: ["logtape", "meta"], sinks: ["sink"], lowestLevel: "error" },
    ],
    reset: true,
  });
  globalThis.addEventListener("unload", flush);
  return flush;
}

/**
 * Whether log lines are JSON: `--json` and `--text` first, then LOG_FORMAT (`compact`, or anything else
 * for JSON, as in Flowgen), then config.yaml, then whether anybody watches.
 */
export function logsJson(
  output: Pick<Output, "json">,
  asked: { json: boolean; text: boolean },
  format: Config["telemetry"]["log"]["format"],
  variable: string | undefined,
): boolean {
  if (asked.json || asked.text) return asked.json;
  if (variable) return !/^(compact|pretty)$/i.test(variable);
  return format === "auto" ? output.json : format === "json";
}
