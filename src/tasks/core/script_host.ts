import { FlowError } from "../../core/errors.ts";
import { ResourceRef, textOfResource } from "../../flow/resource.ts";
import { scoped } from "../../flow/scoped.ts";
import type { ScriptEngines, ScriptHost, ScriptLanguage } from "../../flow/script.ts";
import type { TaskContext } from "../../flow/task.ts";

/** Caged scripts travel in batches of 256, of which several are on their way at once. */
export const SCRIPT_CONCURRENCY = 1024;

/** What scripts of a task can reach: their own flow's part of the store, resources, the log. */
export function hostOf({ services, flow, log, epoch }: TaskContext<unknown>): ScriptHost {
  return {
    cache: scoped(services.runtimeStore, ["flow", flow, "script"]),
    async resource(key) {
      try {
        return await textOfResource(services.resources, key);
      } catch (cause) {
        if (cause instanceof FlowError && cause.code === "resource.missing") return null;
        throw cause;
      }
    },
    get epoch() {
      return epoch();
    },
    print: (level, text) => log[level](text),
  };
}

/** A resource's extension decides, then the task, then config.yaml. */
export function languageOf(
  code: string | ResourceRef,
  engine: ScriptLanguage | undefined,
  scripts: Pick<ScriptEngines, "defaultLanguage">,
): ScriptLanguage {
  const extension = code instanceof ResourceRef
    ? /\.(js|ts|rhai)$/.exec(code.key)?.[1] as ScriptLanguage | undefined
    : undefined;
  return extension ?? engine ?? scripts.defaultLanguage;
}

/**
 * An error inside the code as one inside the file that holds it.
 *
 * @param file Of the resource; `undefined` for inline code.
 * @param field Name of the task's field with the code.
 * @param shift Columns that were put in front of the first line.
 */
export function placed(
  cause: unknown,
  file: string | undefined,
  field: string,
  locate: TaskContext<unknown>["locate"],
  shift = 0,
): FlowError {
  if (!(cause instanceof FlowError)) throw cause;
  const { line, column } = cause.position ?? {};
  const own = column === undefined ? undefined : Math.max(1, line === 1 ? column - shift : column);
  // The engine's own position has no file, so the error is made anew with one that has.
  return new FlowError(cause.code, cause.message, {
    hint: cause.hint,
    cause: cause.cause,
    position: file === undefined
      ? locate([field], line, own)
      : { file, line: line ?? 1, column: own ?? 1 },
  });
}
