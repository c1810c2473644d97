import * as v from "valibot";
import { isQueueName } from "../../flow/queue.ts";

/** What a queue may be called. */
export const QueueName = v.pipe(
  v.string(),
  v.check(isQueueName, 'Expected a name of up to 100 letters, digits, "_" and "-"'),
);
