import * as v from "valibot";
import { FlowError } from "../../core/errors.ts";
import { isQueueName } from "../../flow/queue.ts";
import { delayAfter } from "../../flow/redelivery.ts";
import { Count, Duration } from "../../flow/schema.ts";
import { Tally } from "../../flow/tally.ts";
import { defineTask } from "../../flow/task.ts";
import { QueueName } from "./fields.ts";
import { Taking } from "./taking.ts";

const Config = v.strictObject({
  queue: v.pipe(QueueName, v.description("Name of the queue, as `queue_push` has it.")),
  max_deliver: v.optional(v.pipe(
    Count,
    v.description(
      "Deliveries of one event, also those that ended the process. After the last one it goes to " +
        "the `dead_letter` queue. An event that was under way when processes ended is first tried " +
        "once more, alone, since another one may have ended them. Without end when left out.",
    ),
  )),
  on_permanent: v.optional(
    v.pipe(
      v.picklist(["dead_letter", "nak"]),
      v.description(
        "What becomes of an event that is itself at fault, so that trying again is no use: it goes " +
          "to the `dead_letter` queue at once, or with `nak` comes again like any other.",
      ),
    ),
    "dead_letter",
  ),
  dead_letter: v.optional(v.pipe(
    QueueName,
    v.description("Queue for events that are given up; `<queue>_dead` when left out."),
  )),
  backoff: v.optional(v.pipe(
    v.array(Duration),
    v.minLength(1, "Expected at least one duration"),
    v.description(
      "How long an event that failed stays away, by the number of its deliveries; the last one " +
        "counts for all further. When left out: `1s`, doubling up to `5m`, with jitter.",
    ),
  )),
});

/**
 * Takes events out of a queue, oldest first, each until its delivery is done: at least once, across
 * restarts and crashes. All flows and replicas that subscribe a queue share its events.
 *
 * Data, subject, id and `meta` are those of the event that was pushed; `meta.queue` has `name`,
 * `attempts` (from 1), `pushed` (RFC 3339) and, of dead letters and what an error branch pushed, the
 * `error`. An event that failed comes again after those behind it. At most 1,024 events of a queue are
 * under way or wait to come again; with so many that fail, the queue waits too.
 */
export const queueSubscribe = defineTask({
  type: "queue_subscribe",
  mode: "source",
  ordered: true,
  summary: "Takes events out of a durable queue, each until its delivery is done.",
  config: Config,
  examples: [
    {
      title: "Send what the queue keeps for as long as it takes",
      config: { queue: "orders" },
    },
    {
      title: "Give an event up after five deliveries, a minute apart",
      config: { queue: "orders", max_deliver: 5, backoff: ["1m"], dead_letter: "orders_failed" },
    },
  ],
  check({ config, locate }) {
    const dead = deadLetterOf(config);
    const position = locate(config.dead_letter === undefined ? ["queue"] : ["dead_letter"]);
    if (dead === config.queue) {
      throw new FlowError("config.invalid_value", `Cannot use "${dead}" as its own dead letters`, {
        hint: "name another queue",
        position,
      });
    }
    if (!isQueueName(dead)) {
      throw new FlowError("config.invalid_value", `Cannot name a queue "${dead}"`, {
        hint: "give the queue a shorter name, or write dead_letter",
        position,
      });
    }
  },
  create({ config, name, clock, random, log, services, defer }) {
    const { queues, runtimeStore, cluster } = services;
    const taking = new Taking({
      queues,
      queue: config.queue,
      deadLetters: deadLetterOf(config),
      name,
      most: config.max_deliver ?? Infinity,
      givesUp: config.on_permanent === "dead_letter",
      delay: ({ attempts }) => delayAfter(config.backoff, attempts, random.next()),
      alone: new Tally(runtimeStore, ["queue", config.queue, "alone"], cluster.nodeId),
      clock,
      log,
    });
    defer(() => taking.settled());
    return taking;
  },
});

function deadLetterOf({ queue, dead_letter }: v.InferOutput<typeof Config>): string {
  return dead_letter ?? `${queue}_dead`;
}
