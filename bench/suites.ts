import { readProc } from "./proc.ts";
import { type Row, table } from "./row.ts";

export interface Report {
  readonly rows: readonly Row[];
  /** What has no goal, and is worth knowing beside the rows: one line each. */
  readonly facts?: readonly string[];
}

/** How much of a load is put on: `size(50_000)` is 500 with `--scale=0.01`, and never less than 1. */
export type Size = (full: number) => number;

export type Suites = Readonly<Record<string, (size: Size) => Promise<Report>>>;

/** Runs the suites that the command line names, or all, and prints what each of them found. */
export async function runSuites(suites: Suites): Promise<void> {
  const named = Deno.args.filter((arg) => !arg.startsWith("--"));
  const unknown = named.filter((name) => !(name in suites));
  const options = Deno.args.filter((arg) => arg.startsWith("--"));
  const scale = Number(options[0]?.replace(/^--scale=/, "") ?? 1);
  if (unknown.length > 0 || options.length > 1 || !(scale > 0)) {
    console.error(`Expected some of ${Object.keys(suites).join(", ")}, and --scale=0.01 or so`);
    Deno.exit(2);
  }
  const cpu = /model name\s*:\s*(.+)/.exec(await readProc("cpuinfo"))?.[1] ?? "unknown processor";
  const date = new Date().toISOString().slice(0, 10);
  console.log(`${date}, Deno ${Deno.version.deno}, ${navigator.hardwareConcurrency} × ${cpu}`);
  if (scale !== 1) console.log(`With ${scale} of the load: only good to see that it runs`);
  for (const name of named.length > 0 ? named : Object.keys(suites)) {
    const since = performance.now();
    const { rows, facts = [] } = await suites[name]!((full) =>
      Math.max(1, Math.round(full * scale))
    );
    console.log(`\n${name}, ${((performance.now() - since) / 1_000).toFixed(0)} s`);
    if (rows.length > 0) console.log(table(rows));
    for (const fact of facts) console.log(`- ${fact}`);
  }
}
