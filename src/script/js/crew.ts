import type { Clock } from "../../core/clock.ts";
import { FairQueue } from "./queue.ts";
import type { Seat } from "./seat.ts";

/** A busy child serves so long at least before another heap size gets its place. */
const TURN = 1_000;

/** Scripts that want the same heap: a queue and the children that serve it. */
export class Lane {
  readonly queue = new FairQueue();
  readonly seats = new Set<Seat>();
  starting = 0;
  failures = 0;
  /** Counts up with every child a crew starts: how long ago this lane got its last one. */
  lastTurn = 0;

  constructor(readonly crew: Crew, readonly memory: number) {}

  get children(): number {
    return this.seats.size + this.starting;
  }

  /** The seat with the least to do. */
  quietest(): Seat | undefined {
    let best: Seat | undefined;
    for (const seat of this.seats) {
      if (seat.ready && (!best || seat.batches < best.batches)) best = seat;
    }
    return best;
  }
}

/** Lanes that share a number of children. */
export class Crew {
  readonly #lanes = new Map<number, Lane>();

  constructor(
    readonly most: number,
    /** One event at a time, so that a lost child has exactly one suspect. */
    readonly careful: boolean,
    readonly clock: Clock,
  ) {}

  /** The lane for children with a heap of `memory` bytes. */
  lane(memory: number): Lane {
    let lane = this.#lanes.get(memory);
    if (!lane) this.#lanes.set(memory, lane = new Lane(this, memory));
    return lane;
  }

  /** Those first that have the fewest children and got their last one the longest ago. */
  lanes(): Lane[] {
    const all = [...this.#lanes.values()];
    return all.sort((a, b) => a.children - b.children || a.lastTurn - b.lastTurn);
  }

  get children(): number {
    let children = 0;
    for (const lane of this.#lanes.values()) children += lane.children;
    return children;
  }

  /**
   * Lets a child of another lane go, so that `lane` can have one. Only idle ones go, and no lane's last,
   * unless `lane` has none itself: then a busy one goes too when it has had its turn.
   */
  makeRoomFor(lane: Lane): void {
    const hasNone = lane.children === 0;
    const now = this.clock.monotonic();
    const leaving: Seat[] = [];
    for (const other of this.#lanes.values()) {
      if (other === lane || (!hasNone && other.children === 1)) continue;
      for (const seat of other.seats) {
        if (!seat.ready) return; // it leaves already
        const isIdle = seat.batches === 0 && other.queue.size === 0;
        if (isIdle || (hasNone && now - seat.since >= TURN)) leaving.push(seat);
      }
    }
    leaving.sort((a, b) => a.batches - b.batches || a.since - b.since)[0]?.retire();
  }
}
