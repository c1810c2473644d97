import * as v from "valibot";
import { sha256Hex } from "../core/digest.ts";
import { FlowError, FlowErrors } from "../core/errors.ts";
import { checkValue } from "./check.ts";
import { commonEntries, CommonFields, misplaced, type Role, roleOf } from "./common_fields.ts";
import { type ParsedDocument, parseDocument, type Path } from "./document.ts";
import { type EnvLookup, type Substituted, substituteEnv } from "./env.ts";
import type { Flow, TaskEntry } from "./flow.ts";
import { isMap } from "./kind.ts";
import { FLOWGEN_TASKS } from "./known_tasks.ts";
import { isObject, keysOf, waysAt } from "./schema_walk.ts";
import { didYouMean, quoteList } from "./similar.ts";
import type { TaskDefinition } from "./task.ts";
import { describeGot } from "./wording.ts";

export interface FlowFileInput {
  readonly identity: string;
  /** As shown to people, such as `flows/demo/reader.yaml`. */
  readonly file: string;
  readonly text: string;
  readonly definitions: ReadonlyMap<string, TaskDefinition>;
  readonly env: EnvLookup;
}

/** What stands under `flow:`. The tasks are read one by one, by the schema of their type. */
export const FlowFields = v.strictObject({
  name: v.pipe(v.optional(v.string()), v.description("Shown to people; the identity is the path.")),
  labels: v.pipe(
    v.optional(v.nullable(v.record(v.string(), v.any()))),
    v.description("Anything that people or tools want to note, such as description and tags."),
  ),
  enabled: v.pipe(v.optional(v.boolean(), true), v.description("Whether the flow runs.")),
  require_leader_election: v.pipe(
    v.optional(v.boolean(), false),
    v.description("Whether only one node of a cluster runs the flow."),
  ),
  parallel_instances: v.pipe(
    v.optional(v.pipe(v.number(), v.integer(), v.minValue(1))),
    v.description("Accepted for compatibility; use concurrency and max_in_flight."),
  ),
  tasks: v.array(v.any()),
});

const FlowFile = v.strictObject({ flow: FlowFields });

/**
 * Reads a flow file as far as one file tells: its graph is checked by the engine's plan. Whoever reads
 * thousands should have some dozens under way at once, as digests are made by another thread.
 *
 * @throws {FlowErrors} Everything that is wrong with the file, in its order: `config.*`, `task.*`,
 * `flow.task_shape`, `flow.duplicate_task`.
 */
export async function parseFlow(input: FlowFileInput): Promise<Flow> {
  const document = await parseDocument(input.text, input.file);
  const reader = new FlowReader(input, document);
  const flow = reader.read();
  const digest = await digestOf(input.text, reader.env.used);
  document.release();
  return { ...flow, digest };
}

class FlowReader {
  readonly env: Substituted;
  readonly #findings: FlowError[] = [];
  readonly #warnings: Flow["warnings"][number][] = [];
  /** First position of each task name. */
  readonly #names = new Map<string, Path>();

  constructor(readonly input: FlowFileInput, readonly document: ParsedDocument) {
    this.env = substituteEnv(document.value, input.env, document);
    this.#findings.push(...this.env.findings);
  }

  read(): Omit<Flow, "digest"> {
    const checked = checkValue(FlowFile, this.env.value, {
      places: this.document,
      subject: "this flow file",
      env: this.env,
    });
    if (!checked.ok) this.#findings.push(...checked.findings.map((one) => this.#withAdvice(one)));
    const tasks = this.#items().map((item, index) => this.#task(item, ["flow", "tasks", index]));
    if (this.#findings.length > 0 || !checked.ok) throw new FlowErrors(inOrder(this.#findings));
    const { flow } = checked.output;
    const entries = tasks.filter((task) => task !== undefined);
    const request = entries.find((task) => roleOf(task.definition) === "request");
    this.#warn(flow, request);
    return {
      identity: this.input.identity,
      file: this.input.file,
      name: flow.name,
      labels: flow.labels ?? {},
      enabled: flow.enabled,
      requireLeaderElection: flow.require_leader_election && !request,
      tasks: entries,
      warnings: this.#warnings,
    };
  }

  /** The list of tasks, also where something else in the file is wrong. */
  #items(): readonly unknown[] {
    const value = this.env.value;
    const flow = isObject(value) ? value["flow"] : undefined;
    const tasks = isObject(flow) ? flow["tasks"] : undefined;
    return Array.isArray(tasks) ? tasks : [];
  }

  #withAdvice(finding: FlowError): FlowError {
    const value = this.env.value;
    const key = /^Unknown key "(.+)" in this flow file:/.exec(finding.message)?.[1];
    const hint = key !== undefined && key in FlowFields.entries
      ? `indent it below "flow:"`
      : !isObject(value) || finding.message === 'Missing key "flow" in this flow file'
      ? "a flow file is a map with one key: flow: { name: …, tasks: […] }"
      : finding.hint;
    const { code, message, position } = finding;
    return new FlowError(code, message, { hint, position });
  }

  #task(item: unknown, path: Path): TaskEntry | undefined {
    const type = this.#typeOf(item, path);
    if (type === undefined) return undefined;
    const base = [...path, type];
    const definition = this.input.definitions.get(type);
    if (!definition) return this.#unknownType(type, base);
    // `- log:` without anything below is a task without fields.
    const fields = (item as Record<string, unknown>)[type] ?? {};
    if (!isMap(fields)) {
      this.#add(
        "config.wrong_type",
        `Expected a map for task "${type}", got ${describeGot(fields, false)}`,
        base,
      );
      return undefined;
    }
    const parts = this.#split(fields, definition, base);
    const options = { places: this.document, base, subject: `task "${type}"`, env: this.env };
    const common = checkValue(CommonFields, parts.common, options);
    const own = checkValue(definition.config, parts.own, {
      ...options,
      otherKeys: Object.keys(commonEntries(parts.role)),
    });
    if (!common.ok) this.#findings.push(...common.findings);
    if (!own.ok) this.#findings.push(...own.findings);
    this.#claimName(parts.common["name"], base);
    if (!common.ok || !own.ok) return undefined;
    return this.#entry(definition, common.output, own.output, base);
  }

  #entry(
    definition: TaskDefinition,
    common: CommonFields,
    config: unknown,
    base: Path,
  ): TaskEntry {
    const document = this.document;
    return {
      type: definition.type,
      name: common.name,
      definition,
      config,
      dependsOn: common.depends_on,
      when: common.when,
      retry: common.retry,
      concurrency: common.concurrency,
      ordered: common.ordered,
      maxInFlight: common.max_in_flight,
      maxInFlightBytes: common.max_in_flight_bytes,
      ackTimeout: common.ack_timeout,
      reply: common.reply,
      locate: (path, line, column) =>
        path.length === 0
          ? document.keyPosition(base)
          : document.locate([...base, ...path], line, column),
    };
  }

  /** Common fields apart from the task's own; where both have a name, the common field wins. */
  #split(fields: Record<string, unknown>, definition: TaskDefinition, base: Path) {
    const role = roleOf(definition);
    const shared = commonEntries(role);
    const common: Record<string, unknown> = {};
    const own: Record<string, unknown> = {};
    for (const [key, value] of Object.entries(fields)) {
      if (Object.hasOwn(shared, key)) common[key] = value;
      else if (!this.#isMisplaced(key, role, definition, fields, base)) own[key] = value;
    }
    return { role, common, own };
  }

  #isMisplaced(
    key: string,
    role: Role,
    { type, config }: TaskDefinition,
    fields: unknown,
    base: Path,
  ): boolean {
    const reason = misplaced(key, role);
    if (reason === undefined || keysOf(waysAt(config, fields, [])).includes(key)) return false;
    this.#findings.push(
      new FlowError("config.key_misplaced", `Cannot use "${key}" in task "${type}": ${reason}`, {
        hint: "remove it",
        position: this.document.keyPosition([...base, key]),
      }),
    );
    return true;
  }

  /** The one key of a list item, which is the task's type. */
  #typeOf(item: unknown, path: Path): string | undefined {
    if (!isMap(item)) {
      const known = typeof item === "string" && this.input.definitions.has(item);
      const got = describeGot(item, false);
      const hint = known
        ? `write "- ${item}:" and its fields below, indented`
        : 'write "- log:" and its fields below, for instance';
      this.#add("flow.task_shape", `Expected a map with one task type, got ${got}`, path, hint);
      return undefined;
    }
    const keys = Object.keys(item);
    if (keys.length === 1) return keys[0];
    if (keys.length === 0) {
      this.#add("flow.task_shape", "Expected a map with one task type, got an empty one", path);
      return undefined;
    }
    const types = keys.filter((key) => this.#isType(key));
    // Fields that were not indented stand beside their task; their task can still be named.
    const hint = types.length === 1
      ? `indent the fields of "${types[0]}" further than the task's own line`
      : 'start each task with a "- " of its own';
    const list = quoteList(keys, 5);
    const message = `Expected one task type per list item, got ${keys.length} keys: ${list}`;
    this.#add("flow.task_shape", message, path, hint);
    return undefined;
  }

  #isType(key: string): boolean {
    return this.input.definitions.has(key) || FLOWGEN_TASKS.has(key);
  }

  #unknownType(type: string, base: Path): undefined {
    const position = this.document.keyPosition(base);
    const types = [...this.input.definitions.keys()].sort();
    if (FLOWGEN_TASKS.has(type)) {
      const message = `Task type "${type}" is not available in this version`;
      const hint = "see the list of tasks for what could take its place";
      this.#findings.push(new FlowError("task.not_available", message, { hint, position }));
    } else {
      const hint = didYouMean(type, [...types, ...FLOWGEN_TASKS]) ??
        `known are ${quoteList(types)}`;
      const message = `Unknown task type "${type}"`;
      this.#findings.push(new FlowError("task.unknown_type", message, { hint, position }));
    }
    return undefined;
  }

  #claimName(name: unknown, base: Path): void {
    if (typeof name !== "string") return;
    const path = [...base, "name"];
    const first = this.#names.get(name);
    if (!first) {
      this.#names.set(name, path);
      return;
    }
    const { line } = this.document.locate(first);
    const message = `Two tasks are named "${name}"; the first is on line ${line}`;
    this.#add("flow.duplicate_task", message, path, "give each task of a flow its own name");
  }

  #warn(flow: v.InferOutput<typeof FlowFields>, request: TaskEntry | undefined): void {
    if (flow.parallel_instances !== undefined) {
      this.#warnings.push({
        message:
          "parallel_instances has no effect: use concurrency on a task or max_in_flight on a source",
        position: this.document.keyPosition(["flow", "parallel_instances"]),
      });
    }
    if (flow.require_leader_election && request) {
      this.#warnings.push({
        message:
          `require_leader_election has no effect: every node answers the requests of "${request.name}"`,
        position: this.document.keyPosition(["flow", "require_leader_election"]),
      });
    }
  }

  #add(code: string, message: string, path: Path, hint?: string): void {
    const position = this.document.locate(path);
    this.#findings.push(new FlowError(code, message, { hint, position }));
  }
}

function inOrder(findings: readonly FlowError[]): FlowError[] {
  return findings.toSorted((a, b) =>
    (a.position?.line ?? 0) - (b.position?.line ?? 0) ||
    (a.position?.column ?? 0) - (b.position?.column ?? 0)
  );
}

/** Equal texts with equal variables run alike. */
async function digestOf(text: string, used: ReadonlyMap<string, string>): Promise<string> {
  const variables = [...used].sort(([a], [b]) => a < b ? -1 : a > b ? 1 : 0);
  const content = used.size === 0 ? text : `${JSON.stringify(variables)}\n${text}`;
  return await sha256Hex(content);
}
