import type { TaskDefinition } from "../../flow/task.ts";
import { queuePush } from "./queue_push.ts";
import { queueSubscribe } from "./queue_subscribe.ts";

/** Tasks on the runtime's own queues. */
export const queueTasks: readonly TaskDefinition[] = [queuePush, queueSubscribe];
