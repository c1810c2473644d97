import * as v from "valibot";
import { FlowError, toFlowError } from "../../core/errors.ts";
import type { FlowEvent, Meta } from "../../flow/event.ts";
import { type Claim, isQueueName } from "../../flow/queue.ts";
import { Count, Duration } from "../../flow/schema.ts";
import { defineTask, isCutShort, type Outcome } from "../../flow/task.ts";
import { QueueName } from "./fields.ts";
import { delayAfter, isHopeless, tooOften } from "./redelivery.ts";

const Config = v.strictObject({
  queue: v.pipe(QueueName, v.description("Name of the queue, as `queue_push` has it.")),
  max_deliver: v.optional(v.pipe(
    Count,
    v.description(
      "Deliveries of one event, also those that ended the process. After the last one it goes to " +
        "the `dead_letter` queue. Without end when left out.",
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
  create({ config, name, clock, random, log, services: { queues }, defer }) {
    const { queue: from, max_deliver: most = Infinity } = config;
    const delay = (claim: Claim) => delayAfter(config.backoff, claim.attempts, random.next());
    const settling = new Set<Promise<void>>();
    defer(async () => void await Promise.all(settling));

    /** Answers the queue, after the delivery has ended. */
    function settle(work: Promise<void>, claim: Claim) {
      const done = work.catch((cause) => {
        const { code, message } = toFlowError(cause);
        log.error("An event of a queue was not settled and comes again", { code, error: message });
        return claim.nak(delay(claim)).catch(() => {});
      }).finally(() => settling.delete(done));
      settling.add(done);
    }

    function ended(claim: Claim, outcome: Outcome): Promise<void> {
      if (outcome.ok) return claim.ack();
      const cause = toFlowError(outcome.cause);
      if (isCutShort(cause)) return claim.giveBack();
      const hopeless = config.on_permanent === "dead_letter" && isHopeless(cause);
      if (hopeless || claim.attempts >= most) return giveUp(claim, cause);
      return claim.nak(Math.max(delay(claim), cause.retryAfter ?? 0));
    }

    async function giveUp(claim: Claim, { code, message }: FlowError): Promise<void> {
      const { attempts } = claim;
      const time = new Date(clock.now()).toISOString();
      const error = { code, message, task: name, attempts, time };
      const to = deadLetterOf(config);
      const dead = await queues.open(to);
      await dead.push({ ...claim.event, error });
      await claim.ack();
      log.warning("An event went to the dead letters", {
        ...error,
        queue: from,
        dead_letter: to,
        correlation_id: claim.event.meta.correlation_id,
      });
    }

    return {
      async run(output) {
        const { signal, window } = output;
        const queue = await queues.open(from);
        for await (const claim of queue.take(signal, window)) {
          // An event that ends the process never fails: it just comes again.
          if (claim.attempts > most) settle(giveUp(claim, tooOften(claim, most)), claim);
          else {
            const settled = (outcome: Outcome) => settle(ended(claim, outcome), claim);
            await output.emit(eventOf(claim, from), settled, { bytes: claim.bytes });
          }
        }
      },
    };
  },
});

function deadLetterOf({ queue, dead_letter }: v.InferOutput<typeof Config>): string {
  return dead_letter ?? `${queue}_dead`;
}

function eventOf({ event, attempts, pushed }: Claim, name: string): FlowEvent {
  const { error, ...rest } = event;
  const queue = {
    name,
    attempts,
    pushed: new Date(pushed).toISOString(),
    ...(error && { error: { ...error } }),
  };
  const meta: Meta = { ...event.meta, queue };
  return { ...rest, meta };
}
