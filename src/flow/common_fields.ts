/** The fields that the engine reads, whatever the task. Each task gets those of its role. */
import * as v from "valibot";
import { ByteSize, Count, Duration, RetryPolicy } from "./schema.ts";
import type { TaskDefinition } from "./task.ts";

export const TaskName = v.pipe(
  v.string(),
  v.regex(/^[A-Za-z0-9_-]+$/, 'Expected a name of letters, digits, "_" and "-"'),
);

const everywhere = {
  name: v.pipe(TaskName, v.description("Unique in its flow.")),
  depends_on: v.pipe(
    v.optional(v.array(v.string())),
    v.description("Tasks whose events it takes; the task above when left out, none when empty."),
  ),
  when: v.pipe(
    v.optional(v.picklist(["success", "error", "always"]), "success"),
    v.description("Which events it takes: those that went well, those that failed, or both."),
  ),
  retry: v.pipe(v.optional(RetryPolicy), v.description("How often and how fast to try again.")),
};

const processor = {
  concurrency: v.pipe(v.optional(Count), v.description("Events worked on at once.")),
  ordered: v.pipe(
    v.optional(v.boolean(), false),
    v.description("Whether events of different deliveries keep their order."),
  ),
};

const source = {
  max_in_flight: v.pipe(v.optional(Count), v.description("Deliveries open at once.")),
  max_in_flight_bytes: v.pipe(v.optional(ByteSize), v.description("Bytes of open deliveries.")),
  ack_timeout: v.pipe(v.optional(Duration), v.description("How long a delivery may take.")),
};

const request = {
  reply: v.pipe(
    v.optional(v.picklist(["one", "list", "none"])),
    v.description("The answer's shape; follows from what happened when left out."),
  ),
};

/** All of them; what does not fit a task's role is refused before this schema is asked. */
export const CommonFields = v.strictObject({ ...everywhere, ...processor, ...source, ...request });
export type CommonFields = v.InferOutput<typeof CommonFields>;

export type Role = "processor" | "source" | "request";

export function roleOf(definition: TaskDefinition): Role {
  if (definition.mode !== "source") return "processor";
  return definition.request ? "request" : "source";
}

const ENTRIES = {
  processor: { ...everywhere, ...processor },
  source: { ...everywhere, ...source },
  request: { ...everywhere, ...source, ...request },
};

/** The common fields that a task of this role has. */
export function commonEntries(role: Role): v.ObjectEntries {
  return ENTRIES[role];
}

/** Why a common field does not work in a task of this role; `undefined` where it does. */
export function misplaced(key: string, role: Role): string | undefined {
  if (key in ENTRIES[role] || !(key in CommonFields.entries)) return undefined;
  if (key in processor) return "it works in tasks that receive events only";
  return key in request
    ? "it works in sources that answer requests only"
    : "it works in sources only";
}
