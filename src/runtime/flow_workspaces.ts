import { FlowError } from "../core/errors.ts";
import type { Published, Workspaces, WorkspaceView } from "../flow/workspace.ts";

/**
 * Workspaces as tasks may use them. Those of `sources:` are filled by their sources alone; else a flow
 * could publish what the source would have refused, such as what nobody has signed.
 */
export function workspacesForFlows(
  workspaces: Workspaces,
  ofSources: ReadonlySet<string>,
): Workspaces {
  return {
    publish(name, snapshot, options) {
      if (!ofSources.has(name)) {
        return workspaces.publish(name, snapshot, { ...options, ofSource: false });
      }
      return Promise.reject(
        new FlowError(
          "workspace.of_source",
          `Cannot publish to "${name}": it is filled by the source of that name`,
          { hint: "choose another workspace, or take the source out of config.yaml" },
        ),
      );
    },
    rollback: (name, version) => workspaces.rollback(name, version),
    position: (name) => workspaces.position(name),
    list: () => workspaces.list(),
  };
}

/** What to say of a workspace whose source has nothing new. */
export function standing(name: string, views: readonly WorkspaceView[]): Published {
  const view = views.find((one) => one.name === name);
  const newest = view?.versions[0];
  const isHeld = newest?.state === "rejected" || newest?.state === "rolled_back";
  return {
    workspace: name,
    version: newest?.version ?? "",
    outcome: isHeld ? "held" : "unchanged",
    active: view?.active ?? null,
    findings: newest?.findings ?? [],
  };
}
