/**
 * `deno task bench [engine|script|http|store|processes …]`: our figures beside the platform's, of one
 * run. No figure decides over a test; docs/benchmarks.md keeps those of record.
 */
import { benchEngine } from "./engine.ts";
import { benchHttpFlows } from "./http_flows.ts";
import { benchProcesses } from "./processes.ts";
import { reached, type Row } from "./row.ts";
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

const { cpu, cores } = machine();
console.log(
  `${new Date().toISOString().slice(0, 10)}, Deno ${Deno.version.deno}, ${cores} × ${cpu}`,
);
for (const name of names) {
  console.log(`\n${name}\n${table(await SUITES[name]!())}`);
}

function table(rows: readonly Row[]): string {
  const head = ["what", "ours", "raw", "ratio", "goal", ""];
  const lines = rows.map((row) => [
    row.name,
    `${figure(row.ours)} ${row.unit}`,
    Number.isNaN(row.raw) ? "–" : `${figure(row.raw)} ${row.unit}`,
    Number.isNaN(row.raw) ? "–" : (row.ours / row.raw).toFixed(2),
    figure(row.goal),
    reached(row) ? "" : "missed",
  ]);
  return [head, head.map(() => "---"), ...lines].map((cells) => `| ${cells.join(" | ")} |`).join(
    "\n",
  );
}

function figure(value: number): string {
  if (Number.isNaN(value)) return "–";
  return value >= 1_000
    ? Math.round(value).toLocaleString("en")
    : String(Number(value.toPrecision(3)));
}

function machine(): { cpu: string; cores: number } {
  let cpu = "unknown processor";
  try {
    cpu = /model name\s*:\s*(.+)/.exec(Deno.readTextFileSync("/proc/cpuinfo"))?.[1] ?? cpu;
  } catch {
    // Only Linux says it there.
  }
  return { cpu, cores: navigator.hardwareConcurrency };
}
