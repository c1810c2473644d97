import type { Config } from "../config/load.ts";
import { FlowError } from "../core/errors.ts";
import type { Published, Workspaces, WorkspaceView } from "../flow/workspace.ts";

/**
 * Workspaces as tasks and commands may use them. Those of `sources:` are filled by their sources alone;
 * else a flow could publish what the source would have refused, such as what nobody has signed.
 */
export function guardedWorkspaces(
  workspaces: Workspaces,
  { sources }: Pick<Config, "sources">,
): Workspaces {
  const ofSources = new Set(sources.map(({ name }) => name));
  return {
    publish(name, snapshot, options) {
      if (!ofSources.has(name)) {
        return workspaces.publish(name, snapshot, { ...options, ofSource: false });
      }
      return Promise.reject(ofSource("publish to", name));
    },
    rollback: (name, version) => workspaces.rollback(name, version),
    async remove(name) {
      if (ofSources.has(name)) throw ofSource("remove", name);
      await workspaces.remove(name);
    },
    position: (name) => workspaces.position(name),
    list: () => workspaces.list(),
  };
}

function ofSource(what: string, name: string): FlowError {
  return new FlowError(
    "workspace.of_source",
    `Cannot ${what} "${name}": it is filled by the source of that name`,
    { hint: "take the source out of config.yaml first, or choose another workspace" },
  );
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
