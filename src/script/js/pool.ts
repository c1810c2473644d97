import type { Clock, Timer } from "../../core/clock.ts";
import { FlowError, toFlowError } from "../../core/errors.ts";
import type { Log } from "../../core/log.ts";
import { Crew, type Lane } from "./crew.ts";
import { timeoutError } from "./failure.ts";
import { type CagedScript, type Job, memoryOf } from "./job.ts";
import type { ChildHandle, ChildListener } from "./process.ts";
import { type Loss, Seat } from "./seat.ts";

const BATCH = 256;
/** Batches on their way to one child: enough that it never waits for us. */
const IN_FLIGHT = 4;
/** A child that is busy anyway gets a further batch only when it is worth a frame. */
const WORTH_SENDING = 64;
/** Events a script runs one by one after it has cost a child. */
const PROBATION = 256;
const START_ATTEMPTS = 3;
const SWEEP = 50;
const IDLE = 60_000;

export interface PoolOptions {
  /** Starts a child with a heap of `memory` bytes. @throws {FlowError} `script.child_start` */
  readonly start: (memory: number, listener: ChildListener) => Promise<ChildHandle>;
  /** Children of all heap sizes together, beside one for the careful crew. */
  readonly children: number;
  readonly clock: Clock;
  readonly log: Log;
}

/**
 * Children shared by all flows. Events run in batches in the main crew. When a child dies and nobody
 * can say which event did it (memory, a crash), all that may have go through the careful crew, one at
 * a time in a child of its own: there the culprit is certain and only it fails. Scripts see nothing of
 * being sent again: their writes are not repeated (`Job.ask`).
 */
export class Pool {
  readonly #options: PoolOptions;
  readonly #main: Crew;
  readonly #careful: Crew;
  readonly #scripts = new Map<number, CagedScript>();
  /** Events a script still has to run in the careful crew; a new version of it starts afresh. */
  readonly #probation = new WeakMap<CagedScript, number>();
  readonly #starting = new Set<Promise<void>>();
  #turns = 0;
  #pumping = false;
  #timer: Timer | undefined;
  #timerEvery = 0;
  #closed = false;

  constructor(options: PoolOptions) {
    this.#options = options;
    this.#main = new Crew(options.children, false, options.clock);
    this.#careful = new Crew(1, true, options.clock);
  }

  add(script: CagedScript): void {
    this.#scripts.set(script.id, script);
  }

  remove(script: CagedScript): void {
    this.#scripts.delete(script.id);
    for (const seat of this.#seats()) seat.forget(script);
  }

  push(job: Job): void {
    if (this.#closed) return job.fail(stopped());
    const { script } = job;
    const left = this.#probation.get(script) ?? 0;
    if (left > 0) this.#probation.set(script, left - 1);
    (left > 0 ? this.#careful : this.#main).lane(script.memory).queue.push(job);
    this.#schedule();
  }

  #lost(lane: Lane, seat: Seat, { culprit, suspects, others, memory }: Loss): void {
    lane.seats.delete(seat);
    if (this.#closed) {
      for (const job of [...suspects, ...others]) job.fail(stopped());
      culprit?.fail(stopped());
      return;
    }
    const careful = this.#careful.lane(lane.memory).queue;
    const certain = culprit ?? (lane.crew.careful ? suspects[0] : undefined);
    // Whoever may have done it is tried alone; who only waited goes on as before.
    careful.putBack(suspects.filter((job) => job !== certain));
    lane.queue.putBack(others);
    if (certain) {
      const { script } = certain;
      const error = culprit
        ? timeoutError(script.source.task, script.timeout)
        : memory
        ? memoryOf(script)
        : lostBy(script);
      this.#options.log.warning("A script has cost its process", {
        code: error.code,
        flow: script.source.flow,
        task: script.source.task,
      });
      certain.fail(error);
      this.#probation.set(script, PROBATION);
      careful.putBack(this.#main.lane(lane.memory).queue.drain(script));
    }
    this.#schedule();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closed = true;
    this.#timer?.clear();
    for (const lane of this.#lanes()) {
      for (const job of lane.queue.drain()) job.fail(stopped());
    }
    await Promise.all([...this.#seats().map((seat) => seat.close()), ...this.#starting]);
  }

  /** Not at once: what is pushed in one go shall travel in one batch. */
  #schedule(): void {
    if (this.#pumping || this.#closed) return;
    this.#pumping = true;
    queueMicrotask(() => {
      this.#pumping = false;
      if (this.#closed) return;
      for (const lane of this.#lanes()) this.#pump(lane);
      this.#arm();
    });
  }

  #pump(lane: Lane): void {
    while (lane.queue.size > 0) {
      const seat = this.#seatFor(lane);
      if (!seat) return;
      const jobs = lane.queue.take(lane.crew.careful ? 1 : BATCH);
      if (jobs.length > 0) seat.run(jobs);
    }
  }

  #seatFor(lane: Lane): Seat | undefined {
    const { crew } = lane;
    const seat = lane.quietest();
    if (seat?.batches === 0) return seat;
    // Rather another child than a longer line.
    if (crew.children < crew.most) {
      if (lane.starting === 0) this.#open(lane);
      return undefined;
    }
    crew.makeRoomFor(lane);
    if (!seat || crew.careful) return undefined;
    return seat.batches < IN_FLIGHT && lane.queue.size >= WORTH_SENDING ? seat : undefined;
  }

  #open(lane: Lane): void {
    lane.starting++;
    lane.lastTurn = ++this.#turns;
    const seat: Seat = new Seat({
      free: () => this.#schedule(),
      lost: (loss) => this.#lost(lane, seat, loss),
      script: (id) => this.#scripts.get(id),
    }, this.#options.clock);
    const work = this.#start(lane, seat).finally(() => this.#starting.delete(work));
    this.#starting.add(work);
  }

  async #start(lane: Lane, seat: Seat): Promise<void> {
    try {
      await seat.start((listener) => this.#options.start(lane.memory, listener));
      lane.failures = 0;
      if (this.#closed) return await seat.close();
      if (seat.ready) lane.seats.add(seat);
    } catch (cause) {
      if (++lane.failures < START_ATTEMPTS) return;
      lane.failures = 0;
      const error = toFlowError(cause, "script.child_start");
      for (const job of lane.queue.drain()) job.fail(error);
    } finally {
      lane.starting--;
      this.#schedule();
    }
  }

  #lanes(): Lane[] {
    return [...this.#main.lanes(), ...this.#careful.lanes()];
  }

  #seats(): Seat[] {
    return this.#lanes().flatMap((lane) => [...lane.seats]);
  }

  /** Looks after deadlines while something runs, and ends children that had nothing to do. */
  #arm(): void {
    const seats = this.#seats();
    const every = seats.some((seat) => seat.batches > 0) ? SWEEP : IDLE;
    if (seats.length === 0 || (this.#timer && this.#timerEvery <= every)) return;
    this.#timer?.clear();
    this.#timerEvery = every;
    const { clock } = this.#options;
    this.#timer = clock.after(every, () => {
      this.#timer = undefined;
      for (const seat of this.#seats()) {
        seat.sweep();
        if (seat.batches === 0 && clock.monotonic() - seat.idleSince >= IDLE) seat.retire();
      }
      // A turn may be over for which others wait.
      this.#schedule();
    });
  }
}

function stopped(): FlowError {
  return new FlowError("script.child_lost", "Scripts are being shut down");
}

function lostBy({ source }: CagedScript): FlowError {
  return new FlowError("script.child_lost", `Script "${source.task}" ended the process it ran in`);
}
