import { parseArgs as parse } from "node:util";
import { FlowError } from "../core/errors.ts";
import { nearest } from "../flow/similar.ts";
import { type Command, COMMON, type Option } from "./command.ts";

/** A command line that fits its command. */
export class Given<Name extends PropertyKey = string> {
  constructor(
    readonly args: readonly string[],
    readonly values: ReadonlyMap<PropertyKey, string | true>,
  ) {}

  flag(name: Name): boolean {
    return this.values.has(name);
  }

  value(name: Name): string | undefined {
    const value = this.values.get(name);
    return value === true ? undefined : value;
  }
}

/**
 * Reads the arguments behind a command's name.
 *
 * @throws {FlowError} `usage.unknown_option`, `usage.missing_value`, `usage.unwanted_value`,
 * `usage.unwanted_argument`
 */
export function parseArgs(command: Command, name: string, args: readonly string[]): Given {
  const options: Record<string, Option> = { ...command.options, ...COMMON };
  const { tokens, positionals } = parse({
    args: [...args],
    options: Object.fromEntries(
      Object.entries(options).map(([name, { short, value }]) => [name, {
        type: value ? "string" as const : "boolean" as const,
        ...(short && { short }),
      }]),
    ),
    strict: false, // The parser's own complaints speak to programmers.
    allowPositionals: true,
    tokens: true,
  });
  const values = new Map<string, string | true>();
  for (const token of tokens) {
    if (token.kind !== "option") continue;
    const { name: key, rawName, value, inlineValue } = token;
    const option = Object.hasOwn(options, key) ? options[key] : undefined;
    if (!option) throw unknownOption(rawName, name, Object.keys(options));
    if (option.value && (value === undefined || (!inlineValue && /^-./.test(value)))) {
      throw new FlowError("usage.missing_value", `The option ${rawName} needs a value`, {
        hint: `write ${rawName} <${option.value}>`,
      });
    }
    if (!option.value && value !== undefined) {
      throw new FlowError("usage.unwanted_value", `The option ${rawName} takes no value`);
    }
    values.set(key, value ?? true);
  }
  const unwanted = positionals[command.most ?? 0];
  if (unwanted !== undefined && !values.has("help")) {
    throw new FlowError(
      "usage.unwanted_argument",
      `Cannot use the argument "${unwanted}" with "flowgen ${name}"`,
      { hint: `see flowgen ${name} --help` },
    );
  }
  return new Given(positionals, values);
}

function unknownOption(rawName: string, command: string, names: readonly string[]): FlowError {
  const near = nearest(rawName.replace(/^-+/, ""), names);
  return new FlowError(
    "usage.unknown_option",
    `Unknown option "${rawName}" for "flowgen ${command}"`,
    { hint: near ? `did you mean "--${near}"?` : `see flowgen ${command} --help` },
  );
}
