import type { Clock } from "../../core/clock.ts";
import { FlowError, toFlowError } from "../../core/errors.ts";
import type { Log } from "../../core/log.ts";
import type { FlowEvent, Meta } from "../../flow/event.ts";
import type { Claim, Queues } from "../../flow/queue.ts";
import { isHopeless } from "../../flow/redelivery.ts";
import type { Tally } from "../../flow/tally.ts";
import { isCutShort, type Outcome, type SourceOutput, type SourceRun } from "../../flow/task.ts";
import { LONGEST_ALONE, UnderWay } from "../../flow/under_way.ts";

export interface TakingOptions {
  readonly queues: Queues;
  /** The queue that events are taken from, and the one for those that are given up. */
  readonly queue: string;
  readonly deadLetters: string;
  /** The task's name, for dead letters. */
  readonly name: string;
  /** Deliveries of one event; may be infinite. */
  readonly most: number;
  /** Whether an event that is itself at fault is given up at once. */
  readonly givesUp: boolean;
  /** Milliseconds that an event stays away after it failed. */
  readonly delay: (claim: Claim) => number;
  /** Times that an event ran alone, without an end. */
  readonly alone: Tally;
  readonly clock: Clock;
  readonly log: Log;
}

/** Brings the events of a queue into the flow, and answers the queue by what became of each. */
export class Taking implements SourceRun {
  readonly #underWay = new UnderWay();
  /** Answers to the queue on their way. */
  readonly #settling = new Set<Promise<void>>();

  constructor(readonly options: TakingOptions) {}

  async run(output: SourceOutput): Promise<void> {
    const { queues, queue, most } = this.options;
    const { signal, window } = output;
    const source = await queues.open(queue);
    for await (const claim of source.take(signal, window)) {
      // An event that ends the process never fails: it just comes again, with all that was beside it.
      if (claim.attempts > most) await this.#tryAlone(claim, output);
      else await this.#emit(claim, output);
    }
  }

  /** Resolves when the queue has heard of everything that ended. */
  async settled(): Promise<void> {
    await Promise.all(this.#settling);
  }

  async #emit(claim: Claim, output: SourceOutput, alone = false): Promise<void> {
    this.#underWay.begin();
    const settled = (outcome: Outcome) => {
      this.#underWay.end();
      this.#settle(claim, this.#ended(claim, outcome, alone));
    };
    await output.emit(eventOf(claim, this.options.queue), settled, { bytes: claim.bytes });
  }

  /**
   * Nothing else is under way meanwhile, so that it cannot take others down with it. One that ran alone
   * before and has no end is what ended the process.
   */
  async #tryAlone(claim: Claim, output: SourceOutput): Promise<void> {
    const { alone, most, clock } = this.options;
    const { signal } = output;
    try {
      if (await alone.count(claim.key) > 0) {
        return this.#settle(claim, this.#giveUp(claim, tooOften(claim, most)));
      }
      await this.#underWay.quiet(LONGEST_ALONE, clock, signal);
      // Before it runs: afterwards there may be nobody left to tell.
      await alone.note([claim.key]);
    } catch (cause) {
      return this.#settle(claim, Promise.reject(cause));
    }
    await this.#emit(claim, output, true);
    await this.#underWay.quiet(LONGEST_ALONE, clock, signal);
  }

  /** Answers the queue, after the delivery has ended. */
  #settle(claim: Claim, work: Promise<void>): void {
    const { log, delay } = this.options;
    const done = work.catch((cause) => {
      const { code, message } = toFlowError(cause);
      log.error("An event of a queue was not settled and comes again", { code, error: message });
      return claim.nak(delay(claim)).catch(() => {});
    }).finally(() => this.#settling.delete(done));
    this.#settling.add(done);
  }

  async #ended(claim: Claim, outcome: Outcome, alone: boolean): Promise<void> {
    const { most, givesUp, delay } = this.options;
    if (outcome.ok) return await claim.ack();
    const cause = toFlowError(outcome.cause);
    if (isCutShort(cause)) {
      if (alone) await this.options.alone.note([claim.key], -1);
      return await claim.giveBack();
    }
    const hopeless = givesUp && isHopeless(cause);
    if (hopeless || claim.attempts >= most) return await this.#giveUp(claim, cause);
    await claim.nak(Math.max(delay(claim), cause.retryAfter ?? 0));
  }

  async #giveUp(claim: Claim, { code, message }: FlowError): Promise<void> {
    const { queues, queue, deadLetters, name, clock, log } = this.options;
    const time = new Date(clock.now()).toISOString();
    const error = { code, message, task: name, attempts: claim.attempts, time };
    const dead = await queues.open(deadLetters);
    await dead.push({ ...claim.event, error });
    await claim.ack();
    log.warning("An event went to the dead letters", {
      ...error,
      queue,
      dead_letter: deadLetters,
      correlation_id: claim.event.meta.correlation_id,
    });
  }
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

function tooOften({ attempts }: Claim, most: number): FlowError {
  return new FlowError(
    "queue.deliveries_exceeded",
    `The event was delivered ${attempts - 1} times without an end, and ${most} are allowed`,
    { hint: "it may end the process that works on it: see the log of that time" },
  );
}
