import { resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { FlowError, FlowErrors, textOf } from "../core/errors.ts";
import type { TaskDefinition } from "../flow/task.ts";

const MODES = new Set(["sync", "async", "either", "collect", "source"]);

/**
 * Loads task types of one's own. A module exports definitions, by default or by name; other exports
 * are left alone.
 *
 * @param paths Files, relative to the working directory.
 * @param builtin Types that are taken.
 * @throws {FlowErrors} `config.task_module_failed`, `config.task_module_empty`, `config.task_taken`
 */
export async function loadTaskModules(
  paths: readonly string[],
  builtin: readonly TaskDefinition[],
): Promise<TaskDefinition[]> {
  const known = new Map(builtin.map((definition) => [definition.type, "flowgen itself"]));
  const loaded: TaskDefinition[] = [];
  const findings: FlowError[] = [];
  for (const path of paths) {
    try {
      const definitions = await definitionsOf(path);
      for (const definition of definitions) {
        const owner = known.get(definition.type);
        if (owner) findings.push(taken(path, definition.type, owner));
        known.set(definition.type, path);
      }
      loaded.push(...definitions);
    } catch (cause) {
      if (!(cause instanceof FlowError)) throw cause;
      findings.push(cause);
    }
  }
  if (findings.length > 0) throw new FlowErrors(findings);
  return loaded;
}

async function definitionsOf(path: string): Promise<TaskDefinition[]> {
  let module: Record<string, unknown>;
  try {
    module = await import(pathToFileURL(resolve(path)).href);
  } catch (cause) {
    const why = textOf(cause);
    throw new FlowError(
      "config.task_module_failed",
      `Cannot load the task module ${path}: ${why}`,
      {
        hint: "check the path under tasks in config.yaml, and the module itself with deno check",
        cause,
      },
    );
  }
  const definitions = Object.values(module).flat().filter(isDefinition);
  if (definitions.length > 0) return [...new Set(definitions)];
  throw new FlowError(
    "config.task_module_empty",
    `The task module ${path} exports no task definition`,
    { hint: "export what defineTask({ … }) returns" },
  );
}

function isDefinition(value: unknown): value is TaskDefinition {
  if (typeof value !== "object" || value === null) return false;
  const { type, mode, create, config } = value as Record<string, unknown>;
  return typeof type === "string" && MODES.has(mode as string) && typeof create === "function" &&
    typeof config === "object";
}

function taken(path: string, type: string, owner: string): FlowError {
  return new FlowError(
    "config.task_taken",
    `The task module ${path} defines "${type}", which ${owner} already defines`,
    { hint: "choose another type" },
  );
}
