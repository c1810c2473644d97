import { FlowError } from "../core/errors.ts";
import type { FlowEvent } from "./event.ts";

/** What a queue takes at most, and what becomes of a push beyond that. */
export interface QueueLimits {
  /** From 1. */
  readonly maxEvents: number;
  /** Of all events together, as they are stored. */
  readonly maxBytes: number;
  /** `reject`: the push fails. `drop_oldest`: the oldest events that nobody works on are lost. */
  readonly whenFull: "reject" | "drop_oldest";
}

export const DEFAULT_LIMITS: QueueLimits = {
  maxEvents: 1_000_000,
  maxBytes: 1024 ** 3,
  whenFull: "reject",
};

/**
 * Events of one queue that are taken and not yet acknowledged, at most: under way, or waiting for
 * another attempt. More are not taken before one of them is done, so that a target that is down costs
 * neither memory nor order.
 */
export const MOST_CLAIMED = 1_024;

/** What a queue holds, what is claimed included. */
export interface QueueSize {
  readonly events: number;
  readonly bytes: number;
}

/** An event that was taken and belongs to its taker until it is settled, by the first call. */
export interface Claim {
  /** The same for all deliveries of one event of the queue, and no other's. */
  readonly key: string;
  /** As it was pushed, `error` included. */
  readonly event: FlowEvent;
  /**
   * Deliveries that count, this one included: those that ended, also with their process, and not those
   * that were given back.
   */
  readonly attempts: number;
  /** When it was pushed, milliseconds since 1970. */
  readonly pushed: number;
  /** As it is stored. */
  readonly bytes: number;
  /** It is done and leaves the queue. When this fails the event comes again. */
  ack(): Promise<void>;
  /** It is not done and comes again, to any taker, `delay` milliseconds later at the earliest. */
  nak(delay: number): Promise<void>;
  /** It was not tried to its end: it comes again at once, to any taker, and its delivery does not count. */
  giveBack(): Promise<void>;
}

/**
 * Keeps events until someone has done them: first in, first out, at least once, across restarts and
 * crashes. `testQueue` in `src/store/queue/testing.ts` asks this of all drivers.
 *
 * @throws {FlowError} from every method what its store throws: `store.*`, `nats.*`.
 */
export interface Queue {
  readonly name: string;
  /**
   * Resolves when the event is kept durably.
   *
   * @throws {FlowError} `queue.full` (try again), `queue.event_too_large`
   */
  push(event: FlowEvent): Promise<void>;
  /**
   * Claims events, oldest first, and waits for more until `signal` fires. Several takers share the
   * events. Claims outlive their taker; those of a process that died are free again.
   *
   * @param most Claims that this taker has at once: what is fetched ahead keeps to what is left of them,
   *   so that other nodes get what this one has no room for.
   */
  take(signal: AbortSignal, most?: number): AsyncIterable<Claim>;
  size(): Promise<QueueSize>;
}

/** The queues of a runtime. One name is one queue, whichever flows push and take. */
export interface Queues extends AsyncDisposable {
  /**
   * @param limits Become those of the queue; when left out, it keeps its own.
   * @throws {FlowError} `queue.name_invalid`
   */
  open(name: string, limits?: QueueLimits): Promise<Queue>;
}

/** Where the store is shared with processes that know nothing of each other's claims. */
export const noQueues: Queues = {
  async open() {
    throw new FlowError("queue.not_available", "Cannot keep queues in a hosted store", {
      hint: "use cache.type: nats, or a store in a file of this machine",
    });
  },
  async [Symbol.asyncDispose]() {},
};

const NAME = /^[A-Za-z0-9_-]{1,100}$/;

/** What a queue may be called, wherever it is kept. */
export function isQueueName(name: string): boolean {
  return NAME.test(name);
}

/** @throws {FlowError} `queue.name_invalid` */
export function checkQueueName(name: string): void {
  if (isQueueName(name)) return;
  throw new FlowError("queue.name_invalid", `Cannot name a queue ${JSON.stringify(name)}`, {
    hint: 'use up to 100 letters, digits, "_" and "-"',
  });
}

export function queueFull(name: string, { events, bytes }: QueueSize): FlowError {
  return new FlowError(
    "queue.full",
    `Cannot push to the queue "${name}": it is full with ${events} events of ${bytes} bytes`,
    { hint: "raise max_events or max_bytes, or see why nothing leaves the queue" },
  );
}

export function eventTooLarge(name: string, bytes: number, most: number): FlowError {
  return new FlowError(
    "queue.event_too_large",
    `Cannot push an event of ${bytes} bytes to the queue "${name}", which takes ${most}`,
    { hint: "raise max_bytes, or push less at once" },
  );
}
