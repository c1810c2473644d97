import * as v from "valibot";
import { FlowError, FlowErrors } from "../../core/errors.ts";
import { eventView, type FlowEvent } from "../../flow/event.ts";
import type { ResourceRef } from "../../flow/resource.ts";
import { TemplateBoolean, Text } from "../../flow/schema.ts";
import type { ScriptResult, ScriptSource } from "../../flow/script.ts";
import { type CheckContext, defineTask, type TaskContext } from "../../flow/task.ts";
import { hostOf, languageOf, placed, SCRIPT_CONCURRENCY } from "./script_host.ts";
import { kindOf } from "../../flow/kind.ts";

const Config = v.strictObject({
  condition: v.optional(v.pipe(
    TemplateBoolean,
    v.description("Template that gives true or false, such as `{{event.data.active}}`."),
  )),
  script: v.optional(v.pipe(
    Text,
    v.description(
      "Script that gives true or false: an expression such as `event.data.total > 100`, or a body " +
        "with `return`. It sees what the task `script` gives to its code.",
    ),
  )),
  engine: v.optional(v.pipe(
    v.picklist(["js", "ts", "rhai"]),
    v.description("Language of `script`; left out, as for the task `script`."),
  )),
});
type Config = v.InferOutput<typeof Config>;

/** Lets events pass of which a condition holds, and drops the others. */
export const filter = defineTask({
  type: "filter",
  mode: "either",
  concurrency: SCRIPT_CONCURRENCY,
  summary: "Passes on the events for which a condition holds.",
  config: Config,
  examples: [
    {
      title: "By a field that is true or false",
      config: { condition: "{{event.data.active}}" },
      input: [{ id: 1, active: true }, { id: 2, active: false }, { id: 3, active: "true" }],
      output: [{ id: 1, active: true }, { id: 3, active: "true" }],
    },
    { title: "By an expression", config: { script: "event.data.total > 100" } },
  ],
  async check(context) {
    const { config, locate, services } = context;
    const findings: FlowError[] = [];
    const { condition, script, engine } = config;
    if ((condition === undefined) === (script === undefined)) {
      findings.push(
        condition === undefined
          ? new FlowError("config.missing_key", 'Expected "condition" or "script"', {
            hint: 'write for example condition: "{{event.data.active}}"',
            position: locate([]),
          })
          : new FlowError("config.conflicting_keys", 'Cannot use "condition" with "script"', {
            position: locate(["script"]),
          }),
      );
    }
    if (engine !== undefined && script === undefined) {
      const message = '"engine" has a meaning with "script" only';
      findings.push(
        new FlowError("config.unused_key", message, { position: locate(["engine"]) }),
      );
    }
    if (script !== undefined) {
      const code = await sourceOf(context, script);
      try {
        services.scripts.check(code.source);
      } catch (cause) {
        findings.push(code.locate(cause));
      }
    }
    if (findings.length > 0) throw new FlowErrors(findings);
  },
  async create(context) {
    const { condition, script } = context.config;
    if (script === undefined) {
      return {
        sync: (event, emit) => {
          if (condition!.at(event)) emit(event);
        },
      };
    }
    const { services, defer } = context;
    const { source, locate } = await sourceOf(context, script);
    const compiled = await services.scripts.compile(source, hostOf(context)).catch((cause) => {
      throw locate(cause);
    });
    defer(async () => await compiled[Symbol.asyncDispose]());
    if (compiled.sync) {
      return {
        sync: (event, emit) => {
          if (holds(compiled.run(eventView(event)) as ScriptResult)) emit(event);
        },
      };
    }
    return {
      async: async (event: FlowEvent, { signal }) =>
        holds(await compiled.run(eventView(event), signal)) ? event : null,
    };
  },
});

function holds(result: ScriptResult): boolean {
  if (result.kind === "value" && typeof result.value === "boolean") return result.value;
  const got = result.kind === "value"
    ? kindOf(result.value)
    : { event: "the event", list: "a list", drop: "null" }[result.kind];
  throw new FlowError("event.not_boolean", `Expected true or false from the script, got ${got}`, {
    hint: "compare, such as event.data.total > 100, or write Boolean(...)",
  });
}

const WRAP = "return (";

/** The code to compile, and how to give its errors their place in the file as written. */
async function sourceOf(
  context: CheckContext<Config> | TaskContext<Config>,
  script: string | ResourceRef,
): Promise<{ source: ScriptSource; locate(cause: unknown): FlowError }> {
  const { config, services, flow, name } = context;
  const { text, file } = await context.text(script);
  const language = languageOf(script, config.engine, services.scripts);
  const isExpression = language !== "rhai" && !/\breturn\b/.test(text);
  // The line break ends a comment behind the expression.
  const code = isExpression ? `${WRAP}${text.replace(/[;\s]+$/, "")}\n)` : text;
  return {
    source: { code, language, flow, task: name },
    locate: (cause) =>
      placed(cause, file, "script", context.locate, isExpression ? WRAP.length : 0),
  };
}
