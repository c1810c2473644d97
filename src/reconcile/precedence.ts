import { FlowError, FlowErrors } from "../core/errors.ts";
import type { Wanted } from "./desired.ts";
import { errorOf, type FlowStatus, shortVersion } from "./status.ts";

/** A flow that does not run because another source has one of the same identity. */
export interface Shadowed {
  readonly wanted: Wanted;
  /** The source whose flow is the one that counts. */
  readonly winner: string;
}

/**
 * The flows of several sources as one set: for one identity the first source in `parts` counts, also
 * when its flow is broken or disabled. They come in the order of sources, then identities.
 */
export function mergeWanted(
  parts: readonly (readonly Wanted[])[],
): { wanted: Wanted[]; shadowed: Shadowed[] } {
  const winners = new Map<string, Wanted>();
  const shadowed: Shadowed[] = [];
  for (const wanted of parts.flat()) {
    const winner = winners.get(wanted.identity);
    if (winner) shadowed.push({ wanted, winner: winner.source });
    else winners.set(wanted.identity, wanted);
  }
  return { wanted: [...winners.values()], shadowed };
}

export function shadowedError({ wanted: { identity, source, file }, winner }: Shadowed): FlowError {
  return new FlowError(
    "flow.shadowed",
    `The flow "${identity}" of ${source} does not run: ${winner} has one of the same name`,
    {
      hint: "rename one of the two, or give the source a prefix in config.yaml",
      position: { file, line: 1, column: 1 },
    },
  );
}

/** The loser's line of the status; `since` is milliseconds since 1970. */
export function shadowedStatus(shadowed: Shadowed, since: number): FlowStatus {
  const { identity, source, file, flow } = shadowed.wanted;
  return {
    identity,
    source,
    file,
    state: "invalid",
    since: new Date(since).toISOString(),
    desired: flow instanceof FlowErrors ? null : shortVersion(flow.digest),
    running: null,
    open: 0,
    tasks: [],
    ...errorOf(shadowedError(shadowed)),
  };
}
