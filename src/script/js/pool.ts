import type { Clock, Timer } from "../../core/clock.ts";
import { FlowError, toFlowError } from "../../core/errors.ts";
import type { Log } from "../../core/log.ts";
import { timeoutError } from "./failure.ts";
import { type CagedScript, type Job, memoryOf } from "./job.ts";
import type { ChildCommand, ChildOptions } from "./process.ts";
import { FairQueue } from "./queue.ts";
import { type Loss, Seat, type SeatOwner } from "./seat.ts";

const BATCH = 256;
/** Batches on their way to one child: enough that it never waits for us. */
const IN_FLIGHT = 4;
/** A child that is busy anyway gets a further batch only when it is worth a frame. */
const WORTH_SENDING = 64;
/** Events a flow runs one by one after it has cost a child. */
const PROBATION = 256;
const START_ATTEMPTS = 3;
const SWEEP = 50;
const IDLE = 60_000;

export interface PoolOptions {
  readonly command: ChildCommand;
  readonly children: number;
  /** Bytes of heap of each child. */
  readonly memory: number;
  readonly clock: Clock;
  readonly log: Log;
}

/** One way through the pool: a queue and the children that serve it. */
class Lane {
  readonly queue = new FairQueue();
  readonly seats = new Set<Seat>();
  starting = 0;
  failures = 0;
  constructor(readonly careful: boolean, readonly children: number) {}
}

/**
 * Children shared by all flows. Events run in batches in the main lane. When a child dies and nobody
 * can say which event did it (memory, a crash), all that may have go through the careful lane, one at
 * a time in a child of its own: there the culprit is certain and only it fails. Scripts see nothing of
 * being sent again: their writes are not repeated (`Job.ask`).
 */
export class Pool implements SeatOwner {
  readonly #options: PoolOptions;
  readonly #main: Lane;
  readonly #careful = new Lane(true, 1);
  readonly #scripts = new Map<number, CagedScript>();
  /** Events a flow still has to run in the careful lane. */
  readonly #probation = new Map<string, number>();
  readonly #closing = new Set<Promise<void>>();
  #pumping = false;
  #timer: Timer | undefined;
  #closed = false;

  constructor(options: PoolOptions) {
    this.#options = options;
    this.#main = new Lane(false, options.children);
  }

  add(script: CagedScript): void {
    this.#scripts.set(script.id, script);
  }

  remove(script: CagedScript): void {
    this.#scripts.delete(script.id);
    for (const seat of this.#allSeats()) seat.forget(script);
  }

  script(id: number): CagedScript | undefined {
    return this.#scripts.get(id);
  }

  push(job: Job): void {
    if (this.#closed) return job.fail(stopped());
    const left = this.#probation.get(job.script.source.flow) ?? 0;
    if (left > 0) {
      this.#careful.queue.push(job);
      if (left === 1) this.#probation.delete(job.script.source.flow);
      else this.#probation.set(job.script.source.flow, left - 1);
    } else {
      this.#main.queue.push(job);
    }
    this.#schedule();
  }

  free(): void {
    this.#schedule();
  }

  lost(seat: Seat, { culprit, suspects, others, memory }: Loss): void {
    this.#main.seats.delete(seat);
    this.#careful.seats.delete(seat);
    if (this.#closed) {
      for (const job of [...suspects, ...others]) job.fail(stopped());
      culprit?.fail(stopped());
      return;
    }
    const certain = culprit ?? (seat.careful ? suspects[0] : undefined);
    if (certain) {
      const error = culprit
        ? timeoutError(certain.script.source.task, certain.script.timeout)
        : memory
        ? memoryOf(certain.script)
        : lostBy(certain.script);
      this.#options.log.warning("A script has cost its process", {
        code: error.code,
        flow: certain.script.source.flow,
        task: certain.script.source.task,
      });
      certain.fail(error);
      this.#probation.set(certain.script.source.flow, PROBATION);
    }
    // Whoever may have done it is tried alone; who only waited goes on as before.
    this.#careful.queue.putBack(suspects.filter((job) => job !== certain));
    (seat.careful ? this.#careful : this.#main).queue.putBack(others);
    if (certain) {
      const { flow } = certain.script.source;
      this.#careful.queue.putBack(this.#main.queue.drain(flow));
    }
    this.#schedule();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closed = true;
    this.#timer?.clear();
    for (const lane of [this.#main, this.#careful]) {
      for (const job of lane.queue.drain()) job.fail(stopped());
    }
    const seats = [...this.#allSeats()];
    await Promise.all([...seats.map((seat) => seat.close()), ...this.#closing]);
  }

  /** Not at once: what is pushed in one go shall travel in one batch. */
  #schedule(): void {
    if (this.#pumping || this.#closed) return;
    this.#pumping = true;
    queueMicrotask(() => {
      this.#pumping = false;
      if (this.#closed) return;
      this.#pump(this.#main);
      this.#pump(this.#careful);
      this.#arm();
    });
  }

  #pump(lane: Lane): void {
    while (lane.queue.size > 0) {
      const seat = this.#roomIn(lane);
      if (!seat) {
        if (lane.starting === 0 && lane.seats.size < lane.children) this.#open(lane);
        return;
      }
      const jobs = lane.queue.take(lane.careful ? 1 : BATCH);
      if (jobs.length > 0) seat.run(jobs);
    }
  }

  #roomIn(lane: Lane): Seat | undefined {
    let best: Seat | undefined;
    for (const seat of lane.seats) {
      if (seat.ready && (!best || seat.batches < best.batches)) best = seat;
    }
    if (!best || best.batches === 0) return best;
    // Rather another child than a longer line.
    if (lane.careful || lane.seats.size + lane.starting < lane.children) return undefined;
    return best.batches < IN_FLIGHT && lane.queue.size >= WORTH_SENDING ? best : undefined;
  }

  #open(lane: Lane): void {
    const { command, clock, memory } = this.#options;
    lane.starting++;
    const seat = new Seat(this, clock, lane.careful);
    const work = this.#start(lane, seat, { command, clock, memory })
      .finally(() => this.#closing.delete(work));
    this.#closing.add(work);
  }

  async #start(lane: Lane, seat: Seat, options: ChildOptions): Promise<void> {
    try {
      await seat.start(options);
      lane.failures = 0;
      if (this.#closed) return await seat.close();
      lane.seats.add(seat);
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

  #allSeats(): Seat[] {
    return [...this.#main.seats, ...this.#careful.seats];
  }

  /** Looks after deadlines while something runs, and ends children that had nothing to do. */
  #arm(): void {
    if (this.#timer) return;
    const seats = this.#allSeats();
    if (seats.length === 0) return;
    const busy = seats.some((seat) => seat.batches > 0);
    const { clock } = this.#options;
    this.#timer = clock.after(busy ? SWEEP : IDLE, () => {
      this.#timer = undefined;
      for (const seat of this.#allSeats()) {
        seat.sweep();
        if (seat.batches > 0 || clock.monotonic() - seat.idleSince < IDLE) continue;
        this.#main.seats.delete(seat);
        this.#careful.seats.delete(seat);
        const end = seat.close().finally(() => this.#closing.delete(end));
        this.#closing.add(end);
      }
      this.#arm();
    });
  }
}

function stopped(): FlowError {
  return new FlowError("script.child_lost", "Scripts are being shut down");
}

function lostBy({ source }: CagedScript): FlowError {
  return new FlowError("script.child_lost", `Script "${source.task}" ended the process it ran in`);
}
