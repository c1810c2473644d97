import { version } from "../version.ts";
import { type Command, COMMON, type Options } from "./command.ts";
import { type CommandEntry, COMMANDS } from "./commands.ts";

export function generalHelp(): string {
  const commands = COMMANDS.filter(({ hidden }) => !hidden);
  return `flowgen ${version} runs flows: tasks in YAML that take events in, change them and pass them on.

Usage: flowgen [command] [options]

Commands:
${columns(commands.map(({ name, summary }) => [name, summary]))}

Options:
${
    columns([["-h, --help", "Explain flowgen, or a command"], [
      "-V, --version",
      "Print the version",
    ]])
  }

Exit codes: 0 done, 1 failed, 2 wrong command line, 78 something to mend in a configuration or flow.
See flowgen <command> --help for the options of a command.`;
}

export function commandHelp({ name }: CommandEntry, command: Command): string {
  const usage = ["flowgen", name, "[options]", command.args].filter(Boolean).join(" ");
  return `${command.about}

Usage: ${usage}

Options:
${columns(optionRows({ ...command.options, ...COMMON }))}

Examples:
${command.examples.map((line) => `  ${line}`).join("\n")}`;
}

function optionRows(options: Options): [string, string][] {
  return Object.entries(options).map(([name, { short, value, about }]) => [
    `${short ? `-${short}, ` : "    "}--${name}${value ? ` <${value}>` : ""}`,
    about,
  ]);
}

function columns(rows: readonly (readonly [string, string])[]): string {
  const width = Math.max(...rows.map(([left]) => left.length));
  return rows.map(([left, right]) => `  ${left.padEnd(width)}  ${right}`).join("\n");
}
