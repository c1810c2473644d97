/** A runtime inside a host that owns the port and the clock: `deno serve`, Deno Deploy. */
import { configure, getConsoleSink } from "@logtape/logtape";
import { createRuntime, loadConfig } from "../../mod.ts";

// The library logs through LogTape, and where to is the host's decision.
await configure({
  sinks: { console: getConsoleSink() },
  loggers: [
    { category: "flowgen", sinks: ["console"], lowestLevel: "info" },
    { category: ["logtape", "meta"], sinks: ["console"], lowestLevel: "error" },
  ],
});

const config = await loadConfig({
  path: `${import.meta.dirname}/config.yaml`,
  env: Deno.env.toObject(),
});
const runtime = createRuntime(config, { listen: false, scheduler: "platform" });
await runtime.start();

// A host that waits for cron ticks does not end by itself, and the platform kills 5 s after it asked.
for (const signal of ["SIGINT", "SIGTERM"] as const) {
  Deno.addSignalListener(signal, async () => Deno.exit(await runtime.stop(4_000) ? 0 : 1));
}

export default { fetch: runtime.fetch } satisfies Deno.ServeDefaultExport;
