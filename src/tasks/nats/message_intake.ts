import type { Msg } from "@nats-io/nats-core";
import { type Clock, sleep } from "../../core/clock.ts";
import { type FlowError, toFlowError } from "../../core/errors.ts";
import type { Log } from "../../core/log.ts";
import { type FlowEvent, isBytes, type JsonObject, newEvent } from "../../flow/event.ts";
import { isHopeless } from "../../flow/redelivery.ts";
import { isCutShort, type Outcome, type SourceOutput } from "../../flow/task.ts";
import type { Tally } from "../../flow/tally.ts";
import { LONGEST_ALONE, UnderWay } from "../../flow/under_way.ts";
import { tooOften } from "./dead_letters.ts";
import { ID_HEADER, messageMeta, readHeaders } from "./headers.ts";
import { decodePayload, ownBytes, type PayloadMode } from "./payload.ts";
import { factsOf, type Taken, type TakenMessages } from "./taken.ts";

export interface IntakeOptions {
  readonly taken: TakenMessages;
  readonly clock: Clock;
  readonly log: Log;
  readonly payload: PayloadMode;
  /** Milliseconds between two events. */
  readonly throttle: number;
  /** Deliveries of one message; `undefined` without end. */
  readonly maxDeliver: number | undefined;
  /** Deliveries that do not count; left out where nobody counts. */
  readonly untried?: Tally;
  /** Times that a message ran alone, without an end; left out where none does. */
  readonly alone?: Tally;
  /** Whether what failed for good is given up at once. */
  readonly termPermanent: boolean;
  /** Milliseconds until a message that failed comes again, after its n-th delivery. */
  readonly delay: (deliveries: number) => number;
  /** Keeps a message that is given up somewhere; `null` where it is only logged. */
  readonly deadLetter: ((taken: Taken, cause: FlowError) => Promise<void>) | null;
  /** More may be asked for. */
  readonly onRoom: () => void;
}

/** Brings messages into the flow, as far as its window goes, and answers each by what became of it. */
export class MessageIntake {
  /** Taken and not emitted yet, oldest first. */
  #queue: Taken[] = [];
  #output: SourceOutput | null = null;
  /** Came too often and may be innocent: another message may have ended the process each time. */
  readonly #suspects: Taken[] = [];
  /** Emitted and not answered. */
  readonly #underWay = new UnderWay();
  /** Whether the window, or `throttle`, lets nothing in for now. */
  #paused = false;
  /** What goes back untried, once that has been noted. */
  #back: Taken[] = [];
  /** Messages on their way to the dead letters, or back. */
  readonly #leaving = new Set<Promise<void>>();

  constructor(readonly options: IntakeOptions) {}

  /** From now on messages go here. */
  start(output: SourceOutput): void {
    this.#output = output;
    this.#pump();
  }

  take(message: Msg): void {
    const info = factsOf(message.reply);
    if (!info) return;
    const taken = this.options.taken.add(message, info);
    if (!taken) return;
    if (this.#isOver) return this.#giveBack([taken]);
    this.#queue.push(taken);
    this.#pump();
  }

  /** Nothing is emitted any more; what waits goes back at once. */
  stop(): void {
    this.#output = null;
    this.#underWay.letGo();
    this.#giveBack([...this.#suspects.splice(0), ...this.#queue.splice(0)]);
  }

  get #isOver(): boolean {
    return this.#output === null || this.#output.signal.aborted;
  }

  /** Resolves when nothing is on its way to the dead letters, or back. */
  async settled(): Promise<void> {
    while (this.#leaving.size > 0) await Promise.all(this.#leaving);
  }

  #pump(): void {
    while (!this.#paused && !this.#isOver) {
      const suspect = this.#suspects.shift();
      if (suspect) return this.#leave(this.#tryAlone(suspect));
      const taken = this.#queue.shift();
      if (!taken) return;
      const pause = this.#emit(taken, this.#output!);
      const { throttle } = this.options;
      if (pause || throttle > 0) this.#pause(pause, throttle);
    }
  }

  async #pause(pause: void | Promise<void>, throttle: number): Promise<void> {
    this.#paused = true;
    const { clock } = this.options;
    await Promise.all([pause, throttle > 0 && sleep(clock, throttle, this.#output?.signal)]);
    this.#paused = false;
    this.#pump();
  }

  #emit(taken: Taken, output: SourceOutput): void | Promise<void> {
    const { maxDeliver, payload, clock } = this.options;
    const { message, bytes } = taken;
    // A message that ends the process never fails: it just comes again.
    if (maxDeliver !== undefined && taken.tries > maxDeliver && !taken.alone) {
      return this.#leave(this.#cameTooOften(taken, maxDeliver));
    }
    const settled = (outcome: Outcome) => this.#settled(taken, outcome);
    this.#underWay.begin();
    let event: FlowEvent;
    try {
      event = eventOf(taken, decodePayload(payload, message.data, message.subject), clock.now());
    } catch (cause) {
      event = eventOf(taken, ownBytes(message.data), clock.now());
      return output.fail(event, cause, settled, { bytes });
    }
    return output.emit(event, settled, isBytes(event.data) ? undefined : { bytes });
  }

  #settled(taken: Taken, outcome: Outcome): void {
    const { options } = this;
    this.#underWay.end();
    if (outcome.ok) options.taken.ack(taken);
    else this.#failed(taken, toFlowError(outcome.cause));
    options.onRoom();
  }

  #failed(taken: Taken, cause: FlowError): void {
    const { maxDeliver: most, termPermanent } = this.options;
    if (isCutShort(cause)) return this.#giveBack([taken]);
    if (termPermanent && isHopeless(cause)) return this.#leave(this.#toDeadLetters(taken, cause));
    if (most !== undefined && taken.tries >= most) {
      return this.#leave(this.#failedLast(taken, cause, most));
    }
    this.#comeAgain(taken, cause);
  }

  #comeAgain(taken: Taken, { retryAfter = 0 }: FlowError): void {
    const { taken: messages, delay } = this.options;
    messages.nak(taken, Math.max(delay(taken.info.deliveries), retryAfter));
  }

  /** Nothing else is under way meanwhile, so that it cannot take others down with it again. */
  async #tryAlone(taken: Taken): Promise<void> {
    const { clock, throttle } = this.options;
    this.#paused = true;
    await this.#untilQuiet();
    if (await this.#notedAlone(taken)) {
      if (this.#isOver) this.#giveBack([taken]);
      else await this.#emit(taken, this.#output!);
    }
    await this.#untilQuiet();
    if (throttle > 0) await sleep(clock, throttle, this.#output?.signal);
    this.#paused = false;
    this.#pump();
  }

  /** Before it runs: afterwards there may be nobody left to tell. */
  async #notedAlone(taken: Taken): Promise<boolean> {
    const { alone, log, onRoom } = this.options;
    try {
      await alone!.note([taken.info.key]);
      return taken.alone = true;
    } catch (cause) {
      const error = toFlowError(cause);
      log.warning("Cannot note that a message is tried alone; it comes again", {
        error: error.message,
      });
      this.#comeAgain(taken, error);
      onRoom();
      return false;
    }
  }

  async #untilQuiet(): Promise<void> {
    if (this.#isOver) return;
    await this.#underWay.quiet(LONGEST_ALONE, this.options.clock, this.#output!.signal);
  }

  #leave(done: Promise<void>): void {
    this.#leaving.add(done);
    void done.finally(() => this.#leaving.delete(done));
  }

  /** Not tried to its end, so that nobody shall wait for it and the delivery does not count. */
  #giveBack(all: readonly Taken[]): void {
    const { untried, taken: messages } = this.options;
    if (all.length === 0) return;
    if (!untried) {
      for (const taken of all) messages.nak(taken, 0);
      return;
    }
    const isFirst = this.#back.length === 0;
    this.#back.push(...all);
    if (isFirst) this.#leave(this.#noteAndGiveBack(untried));
  }

  async #noteAndGiveBack(untried: Tally): Promise<void> {
    const { taken: messages, log, onRoom } = this.options;
    await null; // for all that end in this turn
    const all = this.#back;
    this.#back = [];
    try {
      const alone = all.filter((taken) => taken.alone);
      await Promise.all([
        untried.note(all.map(({ info }) => info.key)),
        alone.length > 0 && this.options.alone!.note(alone.map(({ info }) => info.key), -1),
      ]);
    } catch (cause) {
      const error = toFlowError(cause).message;
      log.warning("Messages that were not tried count as delivered", {
        messages: all.length,
        error,
      });
    }
    for (const taken of all) messages.nak(taken, 0);
    onRoom();
  }

  async #cameTooOften(taken: Taken, most: number): Promise<void> {
    const tries = await this.#count(taken);
    if (tries === null) return;
    if (tries > most && taken.wasAlone) {
      return await this.#toDeadLetters(taken, tooOften(tries, most));
    }
    if (this.#isOver) return this.#giveBack([taken]);
    if (tries > most) this.#suspects.push(taken);
    else this.#queue.unshift(taken);
    this.#pump();
  }

  async #failedLast(taken: Taken, cause: FlowError, most: number): Promise<void> {
    const tries = await this.#count(taken);
    if (tries === null) return;
    if (tries >= most) return await this.#toDeadLetters(taken, cause);
    this.#comeAgain(taken, cause);
    this.options.onRoom();
  }

  /** The deliveries that count; `null` where that cannot be known now and the message comes again. */
  async #count(taken: Taken): Promise<number | null> {
    const { untried, alone, log, onRoom } = this.options;
    try {
      taken.untried ??= await untried?.count(taken.info.key) ?? 0;
      taken.wasAlone ||= !alone || await alone.count(taken.info.key) > 0;
      return taken.tries;
    } catch (cause) {
      const error = toFlowError(cause);
      const { sequence, stream } = taken.info;
      log.warning("Cannot tell how often a message was tried; it comes again", {
        stream,
        sequence,
        error: error.message,
      });
      this.#comeAgain(taken, error);
      onRoom();
      return null;
    }
  }

  async #toDeadLetters(taken: Taken, cause: FlowError): Promise<void> {
    const { taken: messages, deadLetter, log, delay, onRoom } = this.options;
    const { subject } = taken.message;
    const { stream, sequence, deliveries } = taken.info;
    const facts = { subject, stream, sequence, deliveries, code: cause.code, error: cause.message };
    try {
      await deadLetter?.(taken, cause);
      if (deadLetter) log.warning("A message went to the dead letters", facts);
      else log.error("A message is given up; no dead_letter_subject is set", facts);
      messages.term(taken, cause.code);
    } catch (failure) {
      log.error("A message was not stored as a dead letter and comes again", {
        ...facts,
        failure: toFlowError(failure).message,
      });
      messages.nak(taken, delay(deliveries));
    }
    onRoom();
  }
}

function eventOf({ message, info }: Taken, data: FlowEvent["data"], now: number): FlowEvent {
  const headers = readHeaders(message.headers);
  const id = headers?.[ID_HEADER];
  const nats: Record<string, JsonObject | number | string> = {
    subject: message.subject,
    stream: info.stream,
    sequence: info.sequence,
    deliveries: info.deliveries,
  };
  if (id !== undefined) nats.id = id;
  if (headers) nats.headers = headers;
  return newEvent({ data, subject: message.subject, id, meta: messageMeta(nats, headers) }, now);
}
