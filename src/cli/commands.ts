import type { Command } from "./command.ts";

export interface CommandEntry {
  readonly name: string;
  readonly summary: string;
  readonly hidden?: boolean;
  load(): Promise<Command>;
}

/** All commands, in the order of the help. Their code is imported when one is called. */
export const COMMANDS: readonly CommandEntry[] = [
  {
    name: "run",
    summary: "Run the flows of a configuration until it is stopped (the default)",
    load: () => import("./run.ts").then(({ run }) => run),
  },
  {
    name: "validate",
    summary: "Check the configuration and flow files without running them",
    load: () => import("./validate.ts").then(({ validate }) => validate),
  },
  {
    name: "status",
    summary: "Show what a running node does",
    load: () => import("./status.ts").then(({ status }) => status),
  },
  {
    name: "sync",
    summary: "Ask a source for a new version now",
    load: () => import("./sync.ts").then(({ sync }) => sync),
  },
  {
    name: "workspaces",
    summary: "Show the versions of flows that were published",
    load: () => import("./workspaces.ts").then(({ workspaces }) => workspaces),
  },
  {
    name: "rollback",
    summary: "Go back to an earlier version of a workspace",
    load: () => import("./rollback.ts").then(({ rollback }) => rollback),
  },
  {
    name: "graph",
    summary: "Draw a flow as a Mermaid flowchart",
    load: () => import("./graph.ts").then(({ graph }) => graph),
  },
  {
    name: "eval",
    summary: "Run one script on one event",
    load: () => import("./eval.ts").then(({ evaluate }) => evaluate),
  },
  {
    name: "push",
    summary: "Push flows and resources to an OCI registry",
    load: () => import("./push.ts").then(({ push }) => push),
  },
  {
    name: "schema",
    summary: "Print the JSON Schema of flow files or of the configuration",
    load: () => import("./schema.ts").then(({ schema }) => schema),
  },
  {
    name: "__script-child",
    summary: "The process that scripts run in",
    hidden: true,
    load: () => import("./script_child.ts").then(({ scriptChild }) => scriptChild),
  },
];
