import { errorToJson, FlowError, textOf, toFlowError } from "../core/errors.ts";
import type { Json } from "../flow/event.ts";
import { isMap } from "../flow/kind.ts";
import type { ScriptLanguage } from "../flow/script.ts";
import { defineCommand } from "./command.ts";
import { type EventInit, ISOLATIONS, LANGUAGES, ScriptBench } from "./eval_bench.ts";
import { Exit } from "./exit.ts";
import { linesOf, readText } from "./input.ts";

export const evaluate = defineCommand({
  args: "<file or ->",
  most: 1,
  about: 'Runs one script on one event and prints one line: {"value": …} or {"error": …}.\n' +
    'With --batch each line that comes in is {"code": …, "event": …}, answered in order.',
  options: {
    engine: { value: "js|ts|rhai", about: "Language; else by the file's extension, else js." },
    event: { value: "file", about: 'JSON of the event: {"data": …}; its data is {} without.' },
    isolation: { value: "process|none", about: "Where scripts run; process when left out." },
    batch: { about: "Read lines of JSON instead of one script." },
  },
  examples: [
    "flowgen eval double.js --event order.json",
    "echo 'return event.data.n * 2' | flowgen eval -",
  ],
  async run(given, output) {
    const [file] = given.args;
    if (file === undefined) {
      throw new FlowError("usage.missing_argument", "Name the script to run", {
        hint: "write flowgen eval <file>, or - for standard input",
      });
    }
    const isolation = oneOf("--isolation", given.value("isolation"), ISOLATIONS) ?? "process";
    const engine = oneOf("--engine", given.value("engine"), LANGUAGES) ?? languageOf(file);
    const path = given.value("event");
    const event = path === undefined ? undefined : readEvent(await readText(path), path);
    await using bench = new ScriptBench(isolation);
    if (given.flag("batch")) {
      for await (const line of linesOf(file)) {
        if (line.trim() === "") continue;
        const result = await answer("code", () => {
          const item = readItem(line);
          return bench.run(item.code, item.engine ?? engine, item.event ?? event);
        });
        output.print(JSON.stringify(result));
      }
      return Exit.ok;
    }
    const code = await readText(file);
    const result = await answer(file, () => bench.run(code, engine, event));
    output.print(JSON.stringify(result));
    return "error" in result ? Exit.failure : Exit.ok;
  },
});

type Answer = { value: Json } | { error: ReturnType<typeof errorToJson> };

/** @param file What positions in the script are in. */
async function answer(file: string, run: () => Promise<Json>): Promise<Answer> {
  try {
    return { value: await run() };
  } catch (cause) {
    const error = errorToJson(toFlowError(cause, "script.failed"));
    return { error: error.position ? { ...error, position: { ...error.position, file } } : error };
  }
}

/** One line of a batch. */
function readItem(
  line: string,
): { code: string; engine?: ScriptLanguage; event?: EventInit } {
  const { code, engine, event, ...rest } = readMap(line, "the line");
  refuseOthers(rest, "the line", ["code", "engine", "event"]);
  if (typeof code !== "string") {
    throw new FlowError("usage.batch_line", 'Expected text for "code" in the line');
  }
  return {
    code,
    engine: oneOf('"engine"', engine as string | undefined, LANGUAGES),
    event: event === undefined ? undefined : checkEvent(event, "the line"),
  };
}

function readEvent(text: string, file: string): EventInit {
  return checkEvent(readMap(text, file), file);
}

function checkEvent(value: unknown, where: string): EventInit {
  if (!isMap(value)) {
    throw new FlowError("usage.event_invalid", `Expected the event in ${where} to be a map`, {
      hint: 'write {"data": …}',
    });
  }
  const { data, subject, id, meta, timestamp, ...rest } = value;
  refuseOthers(rest, `the event in ${where}`, ["data", "subject", "id", "meta", "timestamp"]);
  return { data, subject, id, meta, timestamp } as EventInit;
}

function readMap(text: string, where: string): Record<string, unknown> {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    const why = textOf(cause);
    throw new FlowError("usage.json_invalid", `Cannot read ${where} as JSON: ${why}`, { cause });
  }
  if (isMap(value)) return value;
  throw new FlowError("usage.json_invalid", `Expected a JSON object in ${where}`);
}

function refuseOthers(rest: object, where: string, known: readonly string[]): void {
  const [key] = Object.keys(rest);
  if (key === undefined) return;
  throw new FlowError("usage.unknown_key", `Unknown key "${key}" in ${where}`, {
    hint: `known are ${known.join(", ")}`,
  });
}

function languageOf(file: string): ScriptLanguage {
  return LANGUAGES.find((language) => file.endsWith(`.${language}`)) ?? "js";
}

function oneOf<T extends string>(
  name: string,
  value: string | undefined,
  choices: readonly T[],
): T | undefined {
  if (value === undefined) return undefined;
  const choice = choices.find((one) => one === value);
  if (choice !== undefined) return choice;
  throw new FlowError("usage.unknown_value", `Cannot use "${value}" for ${name}`, {
    hint: `choose ${choices.join(" or ")}`,
  });
}
