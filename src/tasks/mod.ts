import type { TaskDefinition } from "../flow/task.ts";
import { coreTasks } from "./core/mod.ts";
import { httpTasks } from "./http/mod.ts";
import { storeTasks } from "./store/mod.ts";

/** All task types of this version. */
export const builtinTasks: readonly TaskDefinition[] = [...coreTasks, ...httpTasks, ...storeTasks];
