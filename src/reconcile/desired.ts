import { FlowError, type FlowErrors, toFlowError } from "../core/errors.ts";
import type { Flow, TaskEntry } from "../flow/flow.ts";

/** One flow that someone wants, as a source of flows gives it. */
export interface Wanted {
  readonly identity: string;
  /** Where it came from, for the status: `files`. */
  readonly source: string;
  /** As shown to people. */
  readonly file: string;
  /** The checked flow, or what is wrong with it. */
  readonly flow: Flow | FlowErrors;
}

/** What a flow holds alone. */
export interface Claim {
  readonly flow: string;
  readonly task: TaskEntry;
}

/**
 * Gives each thing that only one flow may hold, such as a route, to the first flow in `flows` that asks
 * for it. It depends on the wanted set alone, so that every node comes to the same answer.
 *
 * @returns for each flow that came too late, why.
 */
export function assignClaims(flows: readonly Flow[]): Map<string, FlowError> {
  const holders = new Map<string, Claim>();
  const losers = new Map<string, FlowError>();
  for (const flow of flows) {
    let claims: { claim: string; task: TaskEntry }[];
    try {
      claims = claimsOf(flow);
    } catch (cause) {
      losers.set(flow.identity, toFlowError(cause, "task.check_failed"));
      continue;
    }
    const seen = new Map<string, TaskEntry>();
    const taken = claims.find(({ claim, task }) => {
      if (holders.has(claim) || seen.has(claim)) return true;
      seen.set(claim, task);
      return false;
    });
    if (!taken) {
      for (const { claim, task } of claims) holders.set(claim, { flow: flow.identity, task });
      continue;
    }
    const holder = holders.get(taken.claim) ?? { flow: flow.identity };
    losers.set(
      flow.identity,
      new FlowError(
        "flow.claim_taken",
        `Cannot claim "${taken.claim}": flow "${holder.flow}" already holds it`,
        {
          hint: "choose another path or method, or remove one of the two",
          position: taken.task.locate([]),
        },
      ),
    );
  }
  return losers;
}

function claimsOf(flow: Flow): { claim: string; task: TaskEntry }[] {
  return flow.tasks.flatMap((task) =>
    (task.definition.claims?.(task.config) ?? []).map((claim) => ({ claim, task }))
  );
}
