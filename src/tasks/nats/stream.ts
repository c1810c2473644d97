import type { JetStreamManager, StreamConfig } from "@nats-io/jetstream";
import { FlowError } from "../../core/errors.ts";
import { natsError } from "../../nats/errors.ts";
import { covers } from "./names.ts";
import { type Change, fixedSetting, valuesOf } from "./settings.ts";
import { SETTINGS, type StreamFields } from "./stream_fields.ts";

/** The server's numbers for a name that somebody else has just taken, and for subjects taken. */
const NAME_TAKEN = 10058;
const SUBJECTS_OVERLAP = 10065;

/**
 * Sees that the stream is there and, with `create_or_update`, that it is as the fields say. Sends an
 * update only where something differs.
 *
 * @param subject What a new stream takes when the fields do not say.
 * @throws {FlowError} `nats.stream_missing`, `nats.stream_fixed`, `nats.subject_overlap`, and what
 *   `natsError` makes of the server's answers.
 */
export async function ensureStream(
  { streams }: Pick<JetStreamManager, "streams">,
  fields: StreamFields,
  subject: string | undefined,
): Promise<void> {
  const { name } = fields;
  for (let attempt = 1;; attempt++) {
    const current = await configOf(streams, name);
    try {
      if (!fields.create_or_update) {
        if (!current) throw missingStream(name);
      } else if (!current) await create(streams, fields, subject);
      else {
        const changes = diffStream(current, fields);
        if (changes.length > 0) await streams.update(name, valuesOf(changes));
      }
      return;
    } catch (cause) {
      // Another node made it meanwhile, so now there is one to compare with.
      if (attempt === 1 && codeOf(cause) === NAME_TAKEN) continue;
      const wanted = fields.subjects ?? (subject === undefined ? [] : [subject]);
      if (codeOf(cause) === SUBJECTS_OVERLAP) throw await overlap(streams, name, wanted, cause);
      throw natsError(cause, `${current ? "update" : "create"} the stream "${name}"`);
    }
  }
}

export function missingStream(name: string): FlowError {
  return new FlowError("nats.stream_missing", `There is no stream "${name}"`, {
    hint: "create it, or let the task do so with stream.create_or_update: true",
  });
}

/**
 * What an update has to change.
 *
 * @throws {FlowError} `nats.stream_fixed` for what the server never changes.
 */
export function diffStream(current: StreamConfig, fields: StreamFields): Change[] {
  const changes: Change[] = [];
  for (const [field, to] of settingsOf(fields)) {
    const [setting] = SETTINGS[field]!;
    const from = (current as unknown as Record<string, unknown>)[setting] ?? absent(to);
    if (from === to) continue;
    if (isFixed(field, from, to)) {
      throw fixedSetting(
        "nats.stream_fixed",
        `stream "${fields.name}"`,
        { field: `stream.${field}`, from, to },
        "write the old value, or make a new stream",
      );
    }
    changes.push({ field, setting, from, to });
  }
  const subjects = joinSubjects(current.subjects ?? [], fields.subjects ?? []);
  if (subjects) {
    changes.push({ field: "subjects", setting: "subjects", from: current.subjects, to: subjects });
  }
  return changes;
}

/** The subjects of both without those that others cover; `null` when that is what there is. */
export function joinSubjects(
  current: readonly string[],
  wanted: readonly string[],
): readonly string[] | null {
  const added = wanted.filter((one) => !current.some((old) => covers(old, one)));
  if (added.length === 0) return null;
  const all = [...new Set([...current, ...added])];
  return all.filter((one) => !all.some((other) => other !== one && covers(other, one)));
}

/** The server leaves out what is false or zero. */
function absent(value: unknown): unknown {
  return typeof value === "boolean" ? false : typeof value === "number" ? 0 : undefined;
}

function isFixed(field: keyof StreamFields, from: unknown, to: unknown): boolean {
  switch (field) {
    case "storage":
      return true;
    case "retention":
      return from === "workqueue" || to === "workqueue";
    case "deny_delete":
    case "deny_purge":
      return from === true;
    default:
      return false;
  }
}

/** Fields that are given, in the server's units. */
function settingsOf(fields: StreamFields): [keyof StreamFields, unknown][] {
  return Object.entries(SETTINGS).flatMap(([key, [, factor]]) => {
    const field = key as keyof StreamFields;
    const value = fields[field];
    if (value === undefined) return [];
    return [[field, factor === undefined ? value : (value as number) * factor]];
  });
}

async function create(
  streams: JetStreamManager["streams"],
  fields: StreamFields,
  subject: string | undefined,
): Promise<void> {
  const subjects = fields.subjects ?? (subject === undefined ? undefined : [subject]);
  if (!subjects) {
    throw new FlowError(
      "config.missing_key",
      `Cannot create the stream "${fields.name}" without subjects`,
      {
        hint: "name them in stream.subjects: the task's own subject depends on the event",
      },
    );
  }
  const settings = settingsOf(fields).map(([field, value]) => [SETTINGS[field]![0], value]);
  await streams.add({
    ...Object.fromEntries(settings),
    name: fields.name,
    subjects: [...subjects],
  });
}

async function configOf(
  streams: JetStreamManager["streams"],
  name: string,
): Promise<StreamConfig | null> {
  try {
    return (await streams.info(name)).config;
  } catch (cause) {
    const error = natsError(cause, `look at the stream "${name}"`);
    if (error.code === "nats.stream_missing") return null;
    throw error;
  }
}

async function overlap(
  streams: JetStreamManager["streams"],
  name: string,
  subjects: readonly string[],
  cause: unknown,
): Promise<FlowError> {
  const others = new Set<string>();
  for (const subject of subjects) {
    for (const other of await streamsOf(streams, subject)) others.add(other);
  }
  others.delete(name);
  const list = [...others].map((one) => `"${one}"`).join(", ");
  const whose = others.size === 0 ? "another stream" : list;
  return new FlowError(
    "nats.subject_overlap",
    `Cannot give the stream "${name}" the subjects ${
      subjects.join(", ")
    }: ${whose} takes some of them`,
    { hint: "a subject belongs to one stream: use that stream, or other subjects", cause },
  );
}

/** Names of the streams that take messages of this subject. */
export async function streamsOf(
  streams: JetStreamManager["streams"],
  subject: string,
): Promise<string[]> {
  const names: string[] = [];
  for await (const name of streams.names(subject)) names.push(name);
  return names;
}

/** The server's number of what it refused. */
export function codeOf(cause: unknown): number | undefined {
  const code = (cause as { code?: unknown } | null)?.code;
  return typeof code === "number" ? code : undefined;
}
