import type { TaskDefinition } from "../../flow/task.ts";
import { storeKv } from "./store_kv.ts";

/** Tasks on the runtime's own store. */
export const storeTasks: readonly TaskDefinition[] = [storeKv];
