import { type Config, defaultConfig } from "../config/load.ts";
import { errorToJson, FlowError, FlowErrors } from "../core/errors.ts";
import { type Checked, checkFlows, checkSources } from "./checker.ts";
import { CONFIG, defineCommand } from "./command.ts";
import { configPath, readConfig } from "./config_option.ts";
import { Exit } from "./exit.ts";
import { formatFindings, type Output } from "./output.ts";
import { visible } from "./visible.ts";
import { count } from "./words.ts";

export const validate = defineCommand({
  args: "[files or folders…]",
  most: Infinity,
  about:
    "Checks the configuration, and the flows it names or the files given, without running them.",
  options: {
    config: CONFIG,
    target: { value: "place", about: "Check for another place; not available in this version." },
  },
  examples: [
    "flowgen validate --config config.yaml",
    "flowgen validate flows/orders.yaml",
  ],
  async run(given, output) {
    if (given.value("target") !== undefined) {
      throw new FlowError("usage.not_available", "--target is not available in this version");
    }
    const path = await configPath(given.value("config"));
    if (path === undefined && given.args.length === 0) {
      throw new FlowError("usage.nothing_to_check", "There is nothing to check", {
        hint: "name a configuration with --config, or flow files",
      });
    }
    const config = await readOrFindings(path);
    const checked = config instanceof FlowErrors
      // What the flows may use is not known now; checking them would blame them for it.
      ? { files: 0, findings: config.findings, warnings: [] }
      : await checkAll(config, pathsOf(given.args, config));
    const files = checked.files + (path === undefined ? 0 : 1);
    report({ ...checked, files }, config instanceof FlowErrors, output);
    return checked.findings.length > 0 ? Exit.config : Exit.ok;
  },
});

async function readOrFindings(path: string | undefined): Promise<Config | FlowErrors> {
  if (path === undefined) return defaultConfig();
  try {
    return await readConfig(path);
  } catch (cause) {
    if (cause instanceof FlowErrors) return cause;
    throw cause;
  }
}

async function checkAll(config: Config, paths: readonly string[]): Promise<Checked> {
  const { findings, ...flows } = await checkFlows(config, paths);
  return { ...flows, findings: [...await checkSources(config), ...findings] };
}

function pathsOf(args: readonly string[], config: Config): readonly string[] {
  if (args.length > 0) return args;
  return config.flows.path === undefined ? [] : [config.flows.path];
}

function report({ files, findings, warnings }: Checked, configOnly: boolean, output: Output): void {
  if (output.json) {
    output.printJson({ files, errors: findings.map(errorToJson), warnings });
    return;
  }
  const { yellow, green, red } = output.paint;
  const parts = warnings.map(({ message, position: { file, line, column } }) =>
    `${yellow(`${visible(file)}:${line}:${column} warning`)}\n${visible(message)}`
  );
  if (findings.length > 0) parts.push(formatFindings(findings, output.paint));
  if (configOnly) parts.push("The flows were not checked: mend the configuration first");
  const paint = findings.length > 0 ? red : green;
  const summary = [count(files, "file"), count(findings.length, "error")];
  if (warnings.length > 0) summary.push(count(warnings.length, "warning"));
  parts.push(paint(summary.join(", ")));
  output.print(parts.join("\n\n"));
}
