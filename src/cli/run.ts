import type { Config } from "../config/load.ts";
import { systemClock } from "../core/clock.ts";
import { logFor } from "../core/log.ts";
import { createRuntime, type Runtime, STOP_DEADLINE } from "../runtime.ts";
import { version } from "../version.ts";
import { CONFIG, defineCommand } from "./command.ts";
import { neededConfig } from "./config_option.ts";
import { Exit } from "./exit.ts";
import { firstScreen } from "./first_screen.ts";
import { logsJson, startLogging } from "./logging.ts";
import type { Output } from "./output.ts";
import { onStopSignal } from "./signals.ts";
import { logUnhandled } from "./unhandled.ts";
import { visible } from "./visible.ts";

export const run = defineCommand({
  about:
    "Runs the flows of a configuration until it is stopped (Ctrl-C or SIGTERM). What is under\n" +
    "way has 30 seconds to finish then; a second signal ends it at once.",
  options: { config: CONFIG },
  examples: ["flowgen run --config config.yaml", "flowgen --config config.yaml"],
  async run(given, output) {
    const config = await neededConfig(given.value("config"));
    const { level, format } = config.telemetry.log;
    const asked = { json: given.flag("json"), text: given.flag("text") };
    const flush = startLogging({
      level,
      json: logsJson(output, asked, format, Deno.env.get("LOG_FORMAT")),
      stream: Deno.stdout,
      paint: output.paint,
    });
    logUnhandled(logFor("cli"));
    const runtime = createRuntime(config);
    const stopped = onStopSignal({
      clock: systemClock,
      first: (signal) => stop(runtime, signal, output),
      second() {
        logFor("cli").warning("Stopped at once, by a second signal");
        flush();
        Deno.exit(Exit.failure);
      },
    });
    // A signal may come before everything has started; then there is nobody to greet.
    const started = await Promise.race([runtime.start().then(() => "started"), stopped]);
    if (started === "started") {
      flush(); // What was logged meanwhile comes first; the screen shall stay in sight.
      await greet(runtime, config, given.value("config"), output);
    }
    const inTime = await stopped;
    flush();
    return inTime ? Exit.ok : Exit.failure;
  },
});

async function greet(
  runtime: Runtime,
  config: Config,
  option: string | undefined,
  output: Output,
): Promise<void> {
  const status = runtime.status();
  if (!output.json) {
    const { hostname } = config.http_server;
    const { paint } = output;
    tell(output, await firstScreen(status, { config: option, hostname, paint }));
    return;
  }
  logFor("cli").info("Running", {
    version,
    node: status.node,
    flows: status.flows.length,
    http_port: status.http?.port ?? null,
    health_port: status.health?.port ?? null,
    store: status.store,
    control: config.control.path,
  });
}

/** Says what is waited for, and how it ended. */
async function stop(runtime: Runtime, signal: string, output: Output): Promise<boolean> {
  const log = logFor("cli");
  const busy = runtime.status().flows.filter(({ open }) => open > 0);
  const waiting = busy.map(({ identity, open }) => `${identity} (${open})`).join(", ");
  if (output.json) {
    log.info("Stopping", { signal, ...(waiting && { waiting_for: waiting }) });
  } else {
    tell(
      output,
      waiting
        ? `\nStopping. Waiting up to ${STOP_DEADLINE / 1_000} s for what is under way in ` +
          `${visible(waiting)}; press Ctrl-C again to stop at once.`
        : "\nStopping.",
    );
  }
  const inTime = await runtime.stop();
  if (!inTime) log.error("Stopped before everything under way was done");
  else if (output.json) log.info("Stopped");
  else tell(output, "Stopped; everything under way was finished.");
  return inTime;
}

/** Says something in passing: that nobody can read it must not end what runs. */
function tell(output: Output, text: string): void {
  try {
    output.print(text);
  } catch {
    // A full disk, or a reader that has gone; the log counts what it loses.
  }
}
