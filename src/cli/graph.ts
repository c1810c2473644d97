import { type Config, defaultConfig } from "../config/load.ts";
import { FlowError } from "../core/errors.ts";
import { buildGraph } from "../engine/graph.ts";
import { wholeEnv } from "../flow/env.ts";
import { parseFlow } from "../flow/flow_file.ts";
import { nearest } from "../flow/similar.ts";
import { identityOfPath, type SnapshotFile } from "../flow/source.ts";
import { taskDefinitions } from "../parts.ts";
import { readFlows } from "./checker.ts";
import { CONFIG, defineCommand } from "./command.ts";
import { configPath, readConfig } from "./config_option.ts";
import { Exit } from "./exit.ts";
import { mermaid } from "./mermaid.ts";

export const graph = defineCommand({
  args: "<flow>",
  most: 1,
  about: "Draws a flow, given as a file or by its identity, as a Mermaid flowchart.",
  options: { config: CONFIG },
  examples: ["flowgen graph flows/orders.yaml > orders.mmd", "flowgen graph demo/orders"],
  async run(given, output) {
    const [name] = given.args;
    if (name === undefined) {
      throw new FlowError("usage.missing_argument", "Name the flow to draw", {
        hint: "write flowgen graph <file or identity>",
      });
    }
    const path = await configPath(given.value("config"));
    const config = path === undefined ? defaultConfig() : await readConfig(path);
    const { path: below, file, text } = await findFlow(name, config);
    const flow = await parseFlow({
      identity: identityOfPath(below),
      file,
      text: text(),
      definitions: await taskDefinitions(config),
      env: wholeEnv((variable) => Deno.env.get(variable)),
    });
    output.print(mermaid(buildGraph(flow)));
    return Exit.ok;
  },
});

async function findFlow(name: string, { flows }: Config): Promise<SnapshotFile> {
  const stat = await Deno.stat(name).catch(() => null);
  if (stat?.isFile) {
    const [file] = (await readFlows(name)).files.values();
    if (file) return file;
  }
  const known = flows.path === undefined ? [] : [...(await readFlows(flows.path)).files.values()];
  const found = known.find((file) => identityOfPath(file.path) === name);
  if (found) return found;
  const near = nearest(name, known.map((file) => identityOfPath(file.path)));
  throw new FlowError("usage.flow_missing", `There is no flow "${name}"`, {
    hint: near
      ? `did you mean "${near}"?`
      : flows.path === undefined
      ? "name a file, or a configuration with --config"
      : `name a file, or a flow below ${flows.path}`,
  });
}
