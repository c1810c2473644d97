import { defaultConfig } from "../config/load.ts";
import { systemClock } from "../core/clock.ts";
import { formatDuration } from "../core/duration.ts";
import type { ClusterView } from "../flow/cluster.ts";
import type { RuntimeStatus } from "../runtime.ts";
import { CONFIG, defineCommand } from "./command.ts";
import { configPath, readConfig } from "./config_option.ts";
import { askNode } from "./control_client.ts";
import { Exit } from "./exit.ts";
import { flowTable } from "./flow_table.ts";
import type { Paint } from "./paint.ts";
import { sourceTable } from "./source_table.ts";
import { visible } from "./visible.ts";
import { aligned, count, shortNode, widthsOf } from "./words.ts";

export const status = defineCommand({
  about: "Shows what the running node of a configuration does: its flows, their state and counts.",
  options: { config: CONFIG },
  examples: ["flowgen status", "flowgen status --config config.yaml --json"],
  async run(given, output) {
    const path = await configPath(given.value("config"));
    const config = path === undefined ? defaultConfig() : await readConfig(path);
    // Its version may be another one than ours; what the two share is enough for the table.
    const status = await askNode(config.control.path!, "/status") as RuntimeStatus;
    if (output.json) output.printJson(status);
    else output.print(describe(status, systemClock.now(), output.paint));
    return Exit.ok;
  },
});

function describe(status: RuntimeStatus, now: number, paint: Paint): string {
  const { http, health } = status;
  const since = status.started === null
    ? ""
    : ` for ${formatDuration(Math.max(0, now - Date.parse(status.started)))}`;
  const facts: [string, string][] = [["Node", status.node], ["Store", visible(status.store)]];
  if (http) facts.push(["HTTP", `port ${http.port}, ${count(http.endpoints.length, "endpoint")}`]);
  if (health) facts.push(["Health", `http://localhost:${health.port}/readyz`]);
  return [
    `${paint.bold(`flowgen ${status.version}`)} is ${status.state}${since}`,
    ...(status.waiting ? [paint.yellow(`It waits: ${visible(status.waiting)}`)] : []),
    facts.map(([name, value]) => `${paint.dim(name.padEnd(7))} ${value}`).join("\n"),
    ...(status.clustered ? [nodeTable(status.cluster, paint, now)] : []),
    // An older node has none.
    ...(status.sources?.length > 0 ? [sourceTable(status.sources, paint, now)] : []),
    status.flows.length > 0 ? flowTable(status.flows, paint, now) : "There are no flows.",
  ].join("\n\n");
}

/** The nodes of a cluster, this one marked. */
function nodeTable({ nodes, member }: ClusterView, paint: Paint, now: number): string {
  const rows = nodes.map(({ id, self, host, started, version, flows }) => [
    `${shortNode(id)}${self ? "*" : ""}`,
    visible(host) || "-",
    formatDuration(Math.max(0, now - Date.parse(started))),
    visible(version),
    String(flows),
  ]);
  const heads = ["NODE", "HOST", "FOR", "FLOWGEN", "OWNS"];
  const widths = widthsOf([heads, ...rows]);
  const table = [paint.dim(aligned(heads, widths)), ...rows.map((row) => aligned(row, widths))];
  // It may run nothing that others could be running too.
  if (!member) table.push(paint.yellow("this node does not see the others now"));
  return table.join("\n");
}
