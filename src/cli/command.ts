import type { Given } from "./args.ts";
import type { Output } from "./output.ts";

export interface Option {
  /** One letter. */
  readonly short?: string;
  /** What the help calls the value; an option without is a switch. */
  readonly value?: string;
  readonly about: string;
}

export type Options = Readonly<Record<string, Option>>;

/** One command, loaded only when it is asked for. */
export interface Command<O extends Options = Options> {
  /** Arguments as the help shows them: `[files…]`. */
  readonly args?: string;
  /** How many arguments there may be; none when left out. */
  readonly most?: number;
  readonly about: string;
  readonly options: O;
  readonly examples: readonly string[];
  /**
   * @returns the exit code.
   * @throws {FlowError | FlowErrors} for the caller to print.
   */
  run(given: Given<keyof O | keyof typeof COMMON>, output: Output): Promise<number>;
}

/** What every command knows. */
export const COMMON = {
  json: { about: "Answer in JSON, errors too; results are JSON anyway when not on a terminal." },
  text: { about: "Answer in words, also when not on a terminal." },
  help: { short: "h", about: "Explain this command." },
} satisfies Options;

export const CONFIG = {
  short: "c",
  value: "file",
  about: "The configuration; else $CONFIG_PATH, else config.yaml in this folder.",
} satisfies Option;

/** Gives a command its types. */
export function defineCommand<O extends Options>(command: Command<O>): Command<O> {
  return command;
}
