import { sha256Hex } from "../core/digest.ts";
import { FlowError, FlowErrors, toFlowError } from "../core/errors.ts";
import { buildGraph } from "../engine/graph.ts";
import type { Flow, TaskEntry } from "../flow/flow.ts";
import { type FlowFileInput, parseFlow } from "../flow/flow_file.ts";
import { checkResources } from "../flow/resource_check.ts";
import { type ResourceFile, type Resources, textOfField } from "../flow/resource.ts";
import type { CheckContext } from "../flow/task.ts";

export interface CheckInput extends FlowFileInput {
  readonly resources: Resources;
  readonly services: CheckContext<unknown>["services"];
}

/**
 * Reads a flow file and checks all that can be told without connecting to anything: schema, graph,
 * resources, scripts. The digest covers the resources too, so that changing one is changing the flow.
 *
 * @throws {FlowErrors} everything that is wrong.
 */
export async function checkFlow(input: CheckInput): Promise<Flow> {
  const flow = await parseFlow(input);
  const resources = new RecordedResources(input.resources);
  const findings = await checkResources(flow, resources);
  collect(findings, () => void buildGraph(flow));
  for (const task of flow.tasks) {
    try {
      await task.definition.check?.(contextOf(flow, task, resources, input.services));
    } catch (cause) {
      // A missing resource is told already, at the place that names it.
      if (!(cause instanceof FlowError && cause.code.startsWith("resource."))) {
        add(findings, cause, task);
      }
    }
  }
  if (findings.length > 0) throw new FlowErrors(findings);
  return resources.used.size === 0
    ? flow
    : { ...flow, digest: await resources.digest(flow.digest) };
}

/** Remembers what was read, for the digest. */
class RecordedResources implements Resources {
  readonly used = new Map<string, Uint8Array>();
  constructor(readonly inner: Resources) {}

  async read(key: string): Promise<ResourceFile> {
    const file = await this.inner.read(key);
    this.used.set(key, file.bytes);
    return file;
  }

  async digest(base: string): Promise<string> {
    const parts = await Promise.all(
      [...this.used].sort(([a], [b]) => a < b ? -1 : 1)
        .map(async ([key, bytes]) => `${key}=${await sha256Hex(bytes)}`),
    );
    return await sha256Hex([base, ...parts].join("\n"));
  }
}

function contextOf(
  flow: Flow,
  task: TaskEntry,
  resources: Resources,
  services: CheckInput["services"],
): CheckContext<unknown> {
  return {
    config: task.config,
    name: task.name,
    flow: flow.identity,
    services,
    text: (field) => textOfField(field, { resources }),
    locate: (path, line, column) => task.locate(path, line, column),
  };
}

function collect(findings: FlowError[], check: () => void): void {
  try {
    check();
  } catch (cause) {
    add(findings, cause);
  }
}

function add(findings: FlowError[], cause: unknown, task?: TaskEntry): void {
  if (cause instanceof FlowErrors) findings.push(...cause.findings);
  else findings.push(toFlowError(cause, "task.check_failed").at(task?.locate([])));
}
