import { FlowError } from "../core/errors.ts";
import type { Term } from "../flow/cluster.ts";

/** The right of one generation of an elected flow to run: none until it is given a term. */
export class Tenure {
  term: Term | null = null;

  mayRun(): boolean {
    return this.term?.mayRun() ?? false;
  }

  get epoch(): number {
    return this.term?.epoch ?? 0;
  }
}

/** Why nothing more is started: another node may run the flow by now. */
export function notOurs(): FlowError {
  return new FlowError("cluster.fenced", "Another node may run the flow by now", {
    hint: "nothing is lost: the flow goes on there",
  });
}

export function isNotOurs(cause: unknown): boolean {
  return cause instanceof FlowError && cause.code === "cluster.fenced";
}
