// @ts-types="@types/semver"
import type * as Semver from "semver";
import { FlowError } from "../../core/errors.ts";
import { nearest, quoteList } from "../../flow/similar.ts";
import type { Ref, Remote } from "./remote.ts";

/** Which commit is meant; the remote's own default branch when nothing is said. */
export interface RefChoice {
  /** Such as `main`; a name that starts with `refs/` is taken as it is. */
  readonly branch?: string;
  readonly tag?: string;
  /** The whole id. */
  readonly commit?: string;
  /** A range such as `^1.2`: the tag with the highest version in it, with or without a leading `v`. */
  readonly semver?: string;
}

/** What a choice stands for right now. */
export interface Resolved {
  readonly commit: string;
  /** The annotated tag that led there. */
  readonly tag?: { readonly name: string; readonly id: string };
}

const HEADS = "refs/heads/";
const TAGS = "refs/tags/";

/** @throws {FlowError} `source.ref_invalid` */
export function checkChoice(choice: RefChoice): void {
  const given = Object.entries(choice).filter(([, value]) => value !== undefined);
  if (given.length > 1) {
    const names = quoteList(given.map(([name]) => name));
    throw invalid(`Cannot read ${names} at once`, "keep one of them");
  }
  const [name, value] = given[0] ?? [];
  // deno-lint-ignore no-control-regex
  if (value === "" || /[\s\x00-\x1f\x7f]/.test(value ?? "") && name !== "semver") {
    throw invalid(`Cannot use "${value}" as a ${name}`, "write a name without spaces");
  }
  if (name === "commit" && !/^(?:[0-9a-f]{40}|[0-9a-f]{64})$/.test(value!)) {
    throw invalid(`Cannot use "${value}" as a commit`, "write the whole id, 40 letters and digits");
  }
}

function invalid(message: string, hint: string): FlowError {
  return new FlowError("source.ref_invalid", message, { hint });
}

/**
 * One request; none for a commit.
 *
 * @param label The repository, as it may appear in messages.
 * @throws {FlowError} `source.ref_missing`, `source.ref_invalid`, and what the remote throws.
 */
export async function resolveRef(
  remote: Remote,
  choice: RefChoice,
  label: string,
  signal?: AbortSignal,
): Promise<Resolved> {
  const { branch, tag, commit, semver } = choice;
  if (commit !== undefined) return { commit };
  if (semver !== undefined) return await highest(remote, semver, label, signal);
  const name = branch !== undefined
    ? branch.startsWith("refs/") ? branch : HEADS + branch
    : tag !== undefined
    ? TAGS + tag
    : "HEAD";
  const ref = (await remote.refs([name], signal)).find((ref) => ref.name === name);
  if (ref) return resolved(ref);
  const what = tag !== undefined
    ? `tag "${tag}"`
    : branch !== undefined
    ? `branch "${branch}"`
    : "default branch";
  throw new FlowError("source.ref_missing", `Cannot find the ${what} in ${label}`, {
    hint: await whatThereIs(remote, tag ?? branch ?? "HEAD", tag === undefined, signal),
  });
}

function resolved({ name, id, peeled }: Ref): Resolved {
  if (peeled === undefined) return { commit: id };
  return { commit: peeled, tag: { name: name.slice(TAGS.length), id } };
}

async function highest(
  remote: Remote,
  range: string,
  label: string,
  signal?: AbortSignal,
): Promise<Resolved> {
  const semver: typeof Semver = await import("semver");
  if (semver.validRange(range) === null) {
    throw invalid(
      `Cannot read "${range}" as a range of versions`,
      "write one such as ^1.2 or >=2 <4",
    );
  }
  const refs = await remote.refs([TAGS], signal);
  const versions = refs.filter(({ name }) => name.startsWith(TAGS)).flatMap((ref) => {
    const version = semver.parse(ref.name.slice(TAGS.length));
    return version ? [{ ref, version }] : [];
  }).sort((a, b) =>
    semver.compareBuild(b.version, a.version) || (a.ref.name < b.ref.name ? -1 : 1)
  );
  const best = versions.find(({ version }) => semver.satisfies(version, range));
  if (best) return resolved(best.ref);
  const newest = versions.slice(0, 5).map(({ ref }) => ref.name.slice(TAGS.length));
  throw new FlowError(
    "source.ref_missing",
    `Cannot find a tag in the range "${range}" in ${label}`,
    {
      hint: newest.length > 0
        ? `the highest versions are ${quoteList(newest)}`
        : "push a tag that is a version, such as v1.2.3",
    },
  );
}

/** A hint; the second request is worth it, for the typing error is found at once. */
async function whatThereIs(
  remote: Remote,
  word: string,
  branches: boolean,
  signal?: AbortSignal,
): Promise<string> {
  const refs = await remote.refs([HEADS, TAGS], signal);
  const named = (prefix: string) =>
    refs.filter(({ name }) => name.startsWith(prefix)).map(({ name }) => name.slice(prefix.length));
  const [same, other] = branches ? [HEADS, TAGS] : [TAGS, HEADS];
  if (named(HEADS).length + named(TAGS).length === 0) return "the repository is empty: push to it";
  if (named(other).includes(word)) {
    return branches
      ? `there is a tag "${word}": write tag`
      : `there is a branch "${word}": write branch`;
  }
  const near = nearest(word, named(same));
  if (near !== undefined) return `did you mean "${near}"?`;
  const what = branches ? "branches" : "tags";
  if (named(same).length === 0) return `there are no ${what}`;
  return `there are the ${what} ${quoteList(named(same).sort(), 5)}`;
}
