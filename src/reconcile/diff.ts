import type { Flow } from "../flow/flow.ts";

export type Change =
  | { readonly kind: "start"; readonly flow: Flow }
  | { readonly kind: "replace"; readonly flow: Flow }
  | { readonly kind: "stop"; readonly identity: string };

/** What to do so that `desired` runs where `running` (identity → digest) does now. */
export function diffFlows(
  desired: readonly Flow[],
  running: ReadonlyMap<string, string>,
): Change[] {
  const changes: Change[] = [];
  const wanted = new Set<string>();
  for (const flow of desired) {
    wanted.add(flow.identity);
    const digest = running.get(flow.identity);
    if (digest === undefined) changes.push({ kind: "start", flow });
    else if (digest !== flow.digest) changes.push({ kind: "replace", flow });
  }
  for (const identity of running.keys()) {
    if (!wanted.has(identity)) changes.push({ kind: "stop", identity });
  }
  return changes;
}
