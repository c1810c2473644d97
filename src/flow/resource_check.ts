import { type FlowError, toFlowError } from "../core/errors.ts";
import type { Flow } from "./flow.ts";
import { ResourceRef, type Resources } from "./resource.ts";

/** Every resource that a flow names must exist; the findings point at the names. */
export async function checkResources(flow: Flow, resources: Resources): Promise<FlowError[]> {
  const findings: FlowError[] = [];
  for (const task of flow.tasks) {
    for (const { key, path } of resourceRefs(task.config)) {
      try {
        await resources.read(key);
      } catch (cause) {
        findings.push(toFlowError(cause, "resource.unreadable").at(task.locate(path)));
      }
    }
  }
  return findings;
}

type Path = (string | number)[];

/** References in a checked config. Lists and maps keep their places through the schema. */
function* resourceRefs(value: unknown, path: Path = []): Generator<{ key: string; path: Path }> {
  if (value instanceof ResourceRef) {
    yield { key: value.key, path: [...path, "resource"] };
  } else if (Array.isArray(value)) {
    for (const [index, item] of value.entries()) yield* resourceRefs(item, [...path, index]);
  } else if (isPlain(value)) {
    for (const [key, item] of Object.entries(value)) yield* resourceRefs(item, [...path, key]);
  }
}

function isPlain(value: unknown): value is object {
  return typeof value === "object" && value !== null &&
    Object.getPrototypeOf(value) === Object.prototype;
}
