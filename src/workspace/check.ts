import type { FlowError } from "../core/errors.ts";
import { FlowErrors } from "../core/errors.ts";
import type { EnvLookup } from "../flow/env.ts";
import type { Flow } from "../flow/flow.ts";
import type { WorkspaceFinding } from "../flow/workspace.ts";
import { assignClaims } from "../reconcile/desired.ts";
import { FlowLoader, type FlowSnapshot, type LoadOptions } from "../reconcile/load_flows.ts";

/** What is wrong with the flows of a version of the workspace `name`, on whatever node it runs. */
export type CheckSnapshot = (
  name: string,
  flows: FlowSnapshot,
) => Promise<readonly WorkspaceFinding[]>;

/**
 * Checks a version as a node would that has all the variables it asks for: which of them a node has,
 * and lets flows from outside read, is no matter of the version.
 *
 * @param options As for a loader of flows from outside.
 */
export function snapshotChecker(options: LoadOptions): CheckSnapshot {
  const loaderOf = (name: string, env: EnvLookup) =>
    new FlowLoader(`workspace:${name}`, { ...options, outside: true, env });
  // What did not change since the last version of a workspace is not checked again.
  const loaders = new Map<string, FlowLoader>();
  return async (name, flows) => {
    const loader = loaders.get(name) ?? loaderOf(name, options.env);
    loaders.set(name, loader);
    const findings: WorkspaceFinding[] = [];
    const unsure = new Set<string>();
    const right: Flow[] = [];
    for (const { identity, flow } of await loader.load(flows)) {
      if (!(flow instanceof FlowErrors)) right.push(flow);
      else {
        const errors = flow.findings.filter((error) => !isOfNode(error));
        if (errors.length === 0) unsure.add(identity);
        findings.push(...errors.map((error) => ({ identity, error })));
      }
    }
    findings.push(...clashes(right));
    if (unsure.size > 0) {
      // Only now is it seen whether the rest of these flows is right.
      const files = new Map(
        [...flows.files].filter(([path]) => unsure.has(path.replace(/\.[^./]*$/, ""))),
      );
      const again = loaderOf(name, withSomething(options.env));
      for (const { identity, flow } of await again.load({ ...flows, files })) {
        if (!unsure.has(identity) || !(flow instanceof FlowErrors)) continue;
        // What a field says of the value that stands in for a variable, says nothing of the flow.
        const errors = flow.findings.filter(({ code }) => /^(flow|script)\./.test(code));
        findings.push(...errors.map((error) => ({ identity, error })));
      }
    }
    return findings;
  };
}

function isOfNode({ code }: FlowError): boolean {
  return ["config.env_missing", "config.env_not_allowed", "config.http_server_disabled"]
    .includes(code);
}

/** A value for every variable; "1" is text as well as a number. */
function withSomething(env: EnvLookup): EnvLookup {
  return {
    get: (name) => (env.allows(name) ? env.get(name) : undefined) ?? "1",
    allows: () => true,
  };
}

function clashes(flows: readonly Flow[]): WorkspaceFinding[] {
  const losers = assignClaims(flows.filter(({ enabled }) => enabled));
  return [...losers].map(([identity, error]) => ({ identity, error }));
}
