import * as v from "valibot";
import { DEFAULT_LIMITS, type Queue } from "../../flow/queue.ts";
import { ByteSize, Count } from "../../flow/schema.ts";
import { defineTask } from "../../flow/task.ts";
import { QueueName } from "./fields.ts";

/**
 * Keeps events in a queue until `queue_subscribe`, in this flow or another, has done them. It is done
 * when the event is kept durably, and passes it on.
 */
export const queuePush = defineTask({
  type: "queue_push",
  mode: "async",
  // Pushes of one moment share a write to disk.
  concurrency: 256,
  summary: "Keeps events in a durable queue and passes them on unchanged.",
  config: v.strictObject({
    queue: v.pipe(
      QueueName,
      v.description(
        "Name of the queue, which is the same for all flows of the runtime or cluster.",
      ),
    ),
    max_events: v.optional(
      v.pipe(Count, v.description("Events that the queue keeps at most.")),
      DEFAULT_LIMITS.maxEvents,
    ),
    max_bytes: v.optional(
      v.pipe(
        ByteSize,
        v.minValue(1, "Expected a size of at least 1 byte"),
        v.description(
          "Bytes that its events may take together, with what is kept beside the data.",
        ),
      ),
      DEFAULT_LIMITS.maxBytes,
    ),
    when_full: v.optional(
      v.pipe(
        v.picklist(["reject", "drop_oldest"]),
        v.description(
          "`reject`: the push fails with `queue.full` and is retried as `retry` says. " +
            "`drop_oldest`: it makes room by losing the oldest events.",
        ),
      ),
      DEFAULT_LIMITS.whenFull,
    ),
  }),
  examples: [
    { title: "Keep orders until the other side takes them", config: { queue: "orders" } },
    {
      title: "Keep the newest readings of an offline device, on a small disk",
      config: {
        queue: "readings",
        max_events: 100_000,
        max_bytes: "50MiB",
        when_full: "drop_oldest",
      },
    },
  ],
  create({ config, services }) {
    const limits = {
      maxEvents: config.max_events,
      maxBytes: config.max_bytes,
      whenFull: config.when_full,
    };
    // Opened by the first event: opening may make the queue, which a version that never runs must not.
    let opening: Promise<Queue> | null = null;
    return async (event) => {
      const queue = opening ??= services.queues.open(config.queue, limits);
      try {
        await (await queue).push(event);
      } catch (cause) {
        // It may have been the opening that failed, or someone took the queue away.
        if (opening === queue) opening = null;
        throw cause;
      }
      return event;
    };
  },
});
