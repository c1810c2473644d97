/** A runtime inside a host that owns the port and the clock: `deno serve`, Deno Deploy. */
import { createRuntime, loadConfig } from "../../mod.ts";

const config = await loadConfig({
  path: `${import.meta.dirname}/config.yaml`,
  env: Deno.env.toObject(),
});
const runtime = createRuntime(config, { listen: false, scheduler: "platform" });
await runtime.start();

export default { fetch: runtime.fetch } satisfies Deno.ServeDefaultExport;
