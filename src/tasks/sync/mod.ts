import type { TaskDefinition } from "../../flow/task.ts";
import { gitSync } from "./git_sync.ts";
import { ociSync } from "./oci_sync.ts";
import { workspacePublish } from "./workspace_publish.ts";

/** Task types that bring files from elsewhere. */
export const syncTasks: readonly TaskDefinition[] = [gitSync, ociSync, workspacePublish];
