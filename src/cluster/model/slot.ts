import { Membership } from "../membership.ts";
import { Ownership } from "../ownership.ts";
import type { ClaimRecord, NodeRecord, Seen, Written } from "../record.ts";
import type { World } from "./world.ts";

export const LEASE = 6_000;
export const RENEW = 2_000;
/** The world's nodes balance sooner, so that schedules can be short. */
const STABLE = 3_000;
/** What the clocks on the wall show when the world begins. */
export const WALL = 1_900_000_000_000;

interface Turn {
  readonly epoch: number;
  over: boolean;
  state: "running" | "ending";
}

/** What may go wrong around one process. All are off at first. */
export interface Trouble {
  /** Milliseconds of real time in which it does nothing. */
  pausedUntil: number;
  /** Its monotonic clock stands still while it is paused. */
  suspended: boolean;
  loseRequests: boolean;
  loseAnswers: boolean;
  watchBroken: boolean;
  /** Longest way of a message, milliseconds. */
  slow: number;
  /** How old what it reads may be, milliseconds. */
  stale: number;
}

/** One run of a process: it dies, and another one takes its slot. */
export class Incarnation {
  readonly members: Membership;
  readonly flows: Ownership;
  readonly turns = new Map<string, Turn>();
  dead = false;
  leaving = false;
  timer = Infinity;
  nodesListed = false;
  claimsListed = false;
  loaded = false;

  constructor(readonly world: World, readonly slot: Slot) {
    const clock = slot;
    this.members = new Membership({
      clock,
      lease: LEASE,
      renew: RENEW,
      newId: () => `${slot.name}${world.newId()}`,
      acts: {
        renew: (id, beat, seen) =>
          world.request<Written>(
            this,
            () => world.writeNode(id, "live", beat, seen),
            (result) => {
              this.members.renewed(id, beat, seen, result);
              world.listNodes(this);
            },
          ),
        replace: (id, seen) =>
          world.request<Written>(
            this,
            () => world.writeNode(id, "gone", seen?.record.beat ?? 0, seen?.revision ?? null),
            (result) => this.members.replaced(id, result),
          ),
        read: (id) =>
          world.request<Seen<NodeRecord> | null>(
            this,
            () => world.version(world.nodes.get(id), slot),
            (read) => this.members.answered(id, read),
          ),
        ended: () => this.flows.ended(),
        changed: () => this.flows.changed(),
      },
    });
    this.flows = new Ownership({
      clock,
      renew: RENEW,
      stable: STABLE,
      members: this.members,
      acts: {
        write: (flow, record, seen) =>
          world.request<Written>(
            this,
            () => world.writeClaim(flow, record, seen),
            (result) => this.flows.written(flow, record, result),
          ),
        read: (flow) =>
          world.request<Seen<ClaimRecord> | null>(
            this,
            () => world.version(world.claims.get(flow), slot),
            (read) => this.flows.answered(flow, read),
          ),
        start: (flow, epoch) => world.start(this, flow, epoch),
        drain: (flow) => world.end(this, flow, false),
        lose: (flow) => world.end(this, flow, true),
        expire: (flow) => void (this.turns.get(flow)!.over = true),
      },
    });
  }
}

/** A machine on which one process runs at a time; its two clocks are those of the process. */
export class Slot {
  readonly trouble: Trouble = {
    pausedUntil: 0,
    suspended: false,
    loseRequests: false,
    loseAnswers: false,
    watchBroken: false,
    slow: 0,
    stale: 0,
  };
  inc: Incarnation;
  wallOffset = 0;
  #mono = 0;
  #at = 0;

  /** @param rate How fast its monotonic clock goes. */
  constructor(readonly world: World, readonly name: string, readonly rate: number) {
    this.inc = new Incarnation(world, this);
  }

  now(): number {
    return WALL + this.world.now + this.wallOffset;
  }

  monotonic(): number {
    const { now } = this.world;
    if (now > this.#at) {
      // A suspended machine notices nothing of the time, and nobody asks it meanwhile.
      if (!this.trouble.suspended) this.#mono += (now - this.#at) * this.rate;
      this.#at = now;
    }
    return this.#mono;
  }
}
