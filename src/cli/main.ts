import { FlowError } from "../core/errors.ts";
import { nearest } from "../flow/similar.ts";
import { parseArgs } from "./args.ts";
import { COMMANDS } from "./commands.ts";
import { Exit, exitOf, findingsOf } from "./exit.ts";
import { commandHelp, generalHelp } from "./help.ts";
import { Output } from "./output.ts";

/**
 * Runs one command line.
 *
 * @returns the exit code; see `Exit`.
 */
export async function main(args: readonly string[]): Promise<number> {
  // Before anything is parsed, so that a bad option is told in the form that was asked for.
  const output = new Output({ json: args.includes("--json"), text: args.includes("--text") });
  try {
    return await dispatch(args, output);
  } catch (cause) {
    output.errors(findingsOf(cause));
    return exitOf(cause);
  }
}

async function dispatch(args: readonly string[], output: Output): Promise<number> {
  const [first] = args;
  if (first === "--help" || first === "-h" || first === "help") {
    output.print(generalHelp());
    return Exit.ok;
  }
  // `flowgen --config x.yaml` is how Flowgen was always started.
  const named = first !== undefined && !first.startsWith("-");
  const entry = COMMANDS.find(({ name }) => name === (named ? first : "run"));
  if (!entry) throw unknownCommand(first!);
  const command = await entry.load();
  const given = parseArgs(command, entry.name, named ? args.slice(1) : args);
  if (given.flag("help")) {
    output.print(commandHelp(entry, command));
    return Exit.ok;
  }
  return await command.run(given, output);
}

function unknownCommand(name: string): FlowError {
  const shown = COMMANDS.filter(({ hidden }) => !hidden).map((command) => command.name);
  const near = nearest(name, shown);
  return new FlowError("usage.unknown_command", `Unknown command "${name}"`, {
    hint: near
      ? `did you mean "flowgen ${near}"?`
      : /\.ya?ml$/i.test(name)
      ? `to run it, write flowgen --config ${name}; to check it, flowgen validate ${name}`
      : `known are ${shown.join(", ")}; see flowgen --help`,
  });
}
