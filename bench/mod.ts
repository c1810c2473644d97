/**
 * `deno task bench [engine|script|http|store|processes …]`: our figures beside the platform's, of one
 * run. No figure decides over a test; docs/benchmarks.md keeps those of record.
 */
import { benchEngine } from "./engine.ts";
import { benchHttpFlows } from "./http_flows.ts";
import { benchProcesses } from "./processes.ts";
import { readProc } from "./proc.ts";
import { type Row, table } from "./row.ts";
import { benchScript } from "./script.ts";
import { benchStore } from "./store.ts";

const SUITES: Record<string, () => Promise<Row[]>> = {
  engine: benchEngine,
  script: benchScript,
  http: benchHttpFlows,
  store: benchStore,
  processes: benchProcesses,
};

const names = Deno.args.length > 0 ? Deno.args : Object.keys(SUITES);
const unknown = names.filter((name) => !(name in SUITES));
if (unknown.length > 0) {
  console.error(`Unknown suite ${unknown.join(", ")}: one of ${Object.keys(SUITES).join(", ")}`);
  Deno.exit(2);
}

const cpu = /model name\s*:\s*(.+)/.exec(await readProc("cpuinfo"))?.[1] ?? "unknown processor";
const date = new Date().toISOString().slice(0, 10);
console.log(`${date}, Deno ${Deno.version.deno}, ${navigator.hardwareConcurrency} × ${cpu}`);
for (const name of names) {
  console.log(`\n${name}\n${table(await SUITES[name]!())}`);
}
