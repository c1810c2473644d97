import * as v from "valibot";
import { type ErrorView, FlowError } from "../core/errors.ts";
import { decodeRecord, encodeRecord } from "../flow/record.ts";
import type { Entry, Key } from "../flow/store.ts";
import type { WorkspaceVersion, WorkspaceView } from "../flow/workspace.ts";

/** Versions that stay for a rollback, and as many again of those that were rejected. */
const KEPT = 10;

const Place = v.object({ file: v.string(), line: v.number(), column: v.number() });
const Finding = v.object({
  code: v.string(),
  message: v.string(),
  hint: v.optional(v.string()),
  position: v.optional(Place),
});
const Version = v.object({
  version: v.string(),
  /** Digest of its file list. */
  list: v.string(),
  prefix: v.string(),
  /** Whether the source of that name gave it, rather than a flow. */
  of_source: v.optional(v.boolean(), false),
  /** When it was published, milliseconds since 1970. */
  time: v.number(),
  files: v.number(),
  state: v.picklist(["good", "rejected", "rolled_back"]),
  findings: v.optional(v.array(Finding), []),
});
const Manifest = v.object({
  /** The version that is live. */
  active: v.nullable(v.string()),
  /** How many times a version was published. */
  published: v.number(),
  /** Newest first. */
  versions: v.array(Version),
});

/** One version as the record under `workspaces/<name>` has it. */
export type VersionRecord = v.InferOutput<typeof Version>;
/** The record under `workspaces/<name>`, which alone says what is live. */
export type Manifest = v.InferOutput<typeof Manifest>;

export const EMPTY: Manifest = { active: null, published: 0, versions: [] };

export const WORKSPACES = "workspaces";

const NAME = /^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$/;

export function isWorkspaceName(name: string): boolean {
  return NAME.test(name);
}

/** @throws {FlowError} `workspace.name_invalid` */
export function manifestKey(name: string): Key {
  if (isWorkspaceName(name)) return [WORKSPACES, name];
  throw new FlowError("workspace.name_invalid", `Cannot name a workspace "${name}"`, {
    hint: "use up to 64 letters, digits, - and _, and start with a letter or digit",
  });
}

/** @throws {FlowError} `store.record_invalid`, `store.record_newer` */
export function readManifest(entry: Entry | null): Manifest {
  return entry ? decodeRecord(entry.value, Manifest) : EMPTY;
}

export function writeManifest(manifest: Manifest): Uint8Array {
  return encodeRecord(manifest);
}

export function activeOf({ active, versions }: Manifest): VersionRecord | undefined {
  return versions.find(({ version }) => version === active);
}

/** With a version that was published now; one of the same name gives way to it. */
export function withVersion(manifest: Manifest, record: VersionRecord): Manifest {
  const active = record.state === "good" ? record.version : manifest.active;
  const others = manifest.versions.filter(({ version }) => version !== record.version);
  return {
    active,
    published: manifest.published + 1,
    versions: trimmed([record, ...others]),
  };
}

/** Without anything. The record stays: it tells readers that this was wanted, and not a loss. */
export function withoutVersions({ published }: Manifest): Manifest {
  return { active: null, published: published + 1, versions: [] };
}

/** Whether somebody removed it; nothing was published since. */
export function isRemoved({ versions }: Manifest): boolean {
  return versions.length === 0;
}

/** With `target` live in place of what is live now, which is held from here on. */
export function withRollback(manifest: Manifest, target: string): Manifest {
  const versions = manifest.versions.map((one): VersionRecord =>
    one.version === target
      ? { ...one, state: "good" }
      : one.version === manifest.active
      ? { ...one, state: "rolled_back" }
      : one
  );
  return { ...manifest, active: target, versions };
}

/**
 * Commits that are rejected one after another must not push out what one could go back to. What is live
 * is not pushed out either: every good version that comes goes live itself.
 */
function trimmed(versions: readonly VersionRecord[]): VersionRecord[] {
  let good = 0;
  let rejected = 0;
  return versions.filter(({ state }) => (state === "rejected" ? rejected++ : good++) < KEPT);
}

/**
 * The version to go back to.
 *
 * @param wanted As published or the start of it; the one before what is live when left out.
 * @throws {FlowError} `workspace.version_missing`, `workspace.version_rejected`,
 * `workspace.nothing_before`
 */
export function rollbackTarget(name: string, manifest: Manifest, wanted?: string): VersionRecord {
  const { versions, active } = manifest;
  if (wanted === undefined) {
    const at = versions.findIndex(({ version }) => version === active);
    const before = versions.slice(at + 1).find(({ state }) => state === "good");
    if (before) return before;
    throw new FlowError(
      "workspace.nothing_before",
      `There is no version of "${name}" to go back to`,
      { hint: "see flowgen workspaces for what is stored; name a version to choose it" },
    );
  }
  const target = versions.find(({ version }) => version === wanted) ??
    onlyOne(versions.filter(({ version }) => version.startsWith(wanted)));
  if (!target) {
    const known = versions.map(({ version }) => version.slice(0, 12)).join(", ");
    throw new FlowError(
      "workspace.version_missing",
      `Cannot find one version "${wanted}" of "${name}"`,
      { hint: known === "" ? "nothing is stored of it" : `stored are ${known}` },
    );
  }
  if (target.state === "rejected") {
    throw new FlowError(
      "workspace.version_rejected",
      `Cannot go back to "${wanted}" of "${name}": it was rejected`,
      { hint: target.findings[0]?.message },
    );
  }
  return target;
}

function onlyOne<T>(items: readonly T[]): T | undefined {
  return items.length === 1 ? items[0] : undefined;
}

export function viewOf(name: string, { active, versions }: Manifest): WorkspaceView {
  return {
    name,
    active,
    versions: versions.map((one): WorkspaceVersion => ({
      version: one.version,
      time: new Date(one.time).toISOString(),
      state: one.version === active ? "active" : one.state === "good" ? "kept" : one.state,
      files: one.files,
      findings: one.findings satisfies ErrorView[],
    })),
  };
}
