import type { Config } from "../config/load.ts";
import { systemClock } from "../core/clock.ts";
import { FlowError } from "../core/errors.ts";
import { logFor } from "../core/log.ts";
import type { Published, WorkspaceView } from "../flow/workspace.ts";
import { openStores } from "../parts.ts";
import { askNode } from "./control_client.ts";

/** Milliseconds for a node that reads all files of a version before it goes back to it. */
const PATIENCE = 60_000;

/** What commands do with workspaces, through the running node or, when none runs, its store. */
export interface WorkspaceAccess {
  list(): Promise<readonly WorkspaceView[]>;
  /** @throws {FlowError} as `Workspaces.rollback` */
  rollback(name: string, version: string | undefined): Promise<Published>;
  /** @throws {FlowError} `workspace.of_source`, `workspace.missing` */
  remove(name: string): Promise<void>;
}

/**
 * @throws {FlowError} `control.no_node` where neither a node nor a store is there, and what they throw
 */
export async function withWorkspaces<T>(
  config: Config,
  use: (workspaces: WorkspaceAccess) => Promise<T>,
): Promise<T> {
  try {
    return await use(ofNode(config.control.path));
  } catch (cause) {
    if (!(cause instanceof FlowError) || cause.code !== "control.no_node") throw cause;
    if (!await hasStore(config.cache)) throw cause;
  }
  const ended = new AbortController();
  await using stores = await openStores(config, systemClock, ended.signal);
  const [{ StoreWorkspaces }, { guardedWorkspaces }] = await Promise.all([
    import("../workspace/workspaces.ts"),
    import("../runtime/flow_workspaces.ts"),
  ]);
  const workspaces = new StoreWorkspaces({
    store: stores.system,
    clock: systemClock,
    log: logFor("cli"),
    // Only publishing checks.
    check: () => Promise.resolve([]),
  });
  return await use(guardedWorkspaces(workspaces, config));
}

function ofNode(socket: string): WorkspaceAccess {
  return {
    list: async () => await askNode(socket, "/workspaces") as WorkspaceView[],
    rollback: async (name, version) =>
      await askNode(socket, `/workspaces/${encodeURIComponent(name)}/rollback`, {
        body: { version },
        patience: PATIENCE,
      }) as Published,
    remove: async (name) => {
      const path = `/workspaces/${encodeURIComponent(name)}/remove`;
      await askNode(socket, path, { body: {}, patience: PATIENCE });
    },
  };
}

/** Looking must not make a store where there is none; what was in memory is gone. */
async function hasStore({ type, path }: Config["cache"]): Promise<boolean> {
  if (type === "nats") return true;
  if (type === "memory") return false;
  if (/^[a-z][\w+.-]+:\/\//i.test(path)) return true;
  return await Deno.stat(path).then(() => true, () => false);
}
