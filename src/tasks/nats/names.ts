import * as v from "valibot";
import { sha256Hex } from "../../core/digest.ts";

/** A consumer's name becomes a folder on the server, so some of the 255 characters stay free. */
const LONGEST = 200;

/**
 * The name under which all replicas of a task share a durable consumer or a queue group:
 * `<flow>_<task>`, and a piece of their digest where replacing what is not allowed could make two
 * different ones alike.
 */
export async function sharedName(flow: string, task: string): Promise<string> {
  const name = `${flow}_${task}`.replace(/[^A-Za-z0-9_-]/g, "_").slice(0, LONGEST);
  if (/^[A-Za-z0-9-]+$/.test(flow) && name.length < LONGEST) return name;
  return `${name}-${(await sha256Hex(`${flow}\n${task}`)).slice(0, 8)}`;
}

/** A name of a stream or consumer, as the server takes it. */
export const NatsName = v.pipe(
  v.string(),
  v.regex(/^[^\s.*>/\\]{1,255}$/, 'Expected a name without spaces, ".", "*", ">" and "/"'),
);

/** A subject to subscribe to: `orders.new`, `orders.*`, `orders.>`. */
export const SubjectPattern = v.pipe(
  v.string(),
  v.check(isPattern, 'Expected a subject such as "orders.new", "orders.*" or "orders.>"'),
);

/** A subject to publish to. */
export const Subject = v.pipe(
  v.string(),
  v.check(isSubject, 'Expected a subject such as "orders.new"'),
);

/** A group name of subscribers. */
export const QueueName = v.pipe(
  v.string(),
  v.regex(/^\S+$/, "Expected a name without spaces"),
);

function isPattern(subject: string): boolean {
  const parts = subject.split(".");
  return parts.every((part, at) => isPart(part) && (part !== ">" || at === parts.length - 1));
}

/** Whether one can publish there. */
export function isSubject(subject: string): boolean {
  return subject.split(".").every((part) => isPart(part) && part !== "*" && part !== ">");
}

function isPart(part: string): boolean {
  return part !== "" && !/\s/.test(part);
}

/** Whether every subject that `narrow` matches is matched by `wide` too. */
export function covers(wide: string, narrow: string): boolean {
  const [a, b] = [wide.split("."), narrow.split(".")];
  for (const [at, part] of a.entries()) {
    if (part === ">") return b.length > at;
    const other = b[at];
    if (other === undefined || other === ">") return false;
    if (part !== "*" && part !== other) return false;
  }
  return a.length === b.length;
}
