import type {
  Script,
  ScriptHost,
  ScriptLimits,
  ScriptResult,
  ScriptSource,
} from "../../flow/script.ts";
import { type CagedScript, Job } from "./job.ts";
import type { Pool } from "./pool.ts";
import type { Prepared } from "./source.ts";

let made = 0;

/** A script in the cage: every `run` is a job for the pool's children. */
export function compileCaged(
  pool: Pool,
  prepared: Prepared,
  source: ScriptSource,
  host: ScriptHost,
  limits: ScriptLimits,
): Script {
  const script: CagedScript = { id: ++made, source, prepared, host, ...limits };
  pool.add(script);
  return {
    sync: false,
    run(view, signal) {
      return new Promise<ScriptResult>((resolve, reject) => {
        if (signal?.aborted) return reject(signal.reason);
        if (!signal) return pool.push(new Job(script, view, resolve, reject));
        const abort = () => job.fail(signal.reason);
        const job = new Job(
          script,
          view,
          (result) => (signal.removeEventListener("abort", abort), resolve(result)),
          (cause) => (signal.removeEventListener("abort", abort), reject(cause)),
        );
        signal.addEventListener("abort", abort);
        pool.push(job);
      });
    },
    async [Symbol.asyncDispose]() {
      pool.remove(script);
    },
  };
}
