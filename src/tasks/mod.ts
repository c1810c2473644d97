import type { TaskDefinition } from "../flow/task.ts";
import { coreTasks } from "./core/mod.ts";
import { httpTasks } from "./http/mod.ts";
import { natsTasks } from "./nats/mod.ts";
import { queueTasks } from "./queue/mod.ts";
import { storeTasks } from "./store/mod.ts";
import { syncTasks } from "./sync/mod.ts";

/** All task types of this version. */
export const builtinTasks: readonly TaskDefinition[] = [
  ...coreTasks,
  ...httpTasks,
  ...natsTasks,
  ...queueTasks,
  ...storeTasks,
  ...syncTasks,
];
