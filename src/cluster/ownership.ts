import type { Clock } from "../core/clock.ts";
import type { Revision } from "../flow/store.ts";
import type { Membership } from "./membership.ts";
import { pauseAfter } from "./pause.ts";
import { Placement } from "./placement.ts";
import type { ClaimRecord, Read, Seen, Written } from "./record.ts";
import { newSeat, type Seat } from "./seat.ts";

/** What ownership wants done. Each call is answered later by the method that its comment names. */
export interface OwnershipActs {
  /** Write a claim, a new one when `seen` is `null`. Answer: `written`. */
  write(flow: string, record: ClaimRecord, seen: Revision | null): void;
  /** Read a claim, from where nothing is late. Answer: `answered`. */
  read(flow: string): void;
  /** The flow is this node's from now on. */
  start(flow: string, epoch: number): void;
  /** Take nothing more in. Answer, when the last delivery has ended: `settled`. */
  drain(flow: string): void;
  /** The right is gone: start nothing more. Answer, when it could be started again: `settled`. */
  lose(flow: string): void;
  /** The right is gone while a drain or a loss is under way. */
  expire(flow: string): void;
}

export interface OwnershipOptions {
  readonly clock: Pick<Clock, "now" | "monotonic">;
  /** Milliseconds. */
  readonly renew: number;
  readonly members: Membership;
  /** How long the same nodes must have been alive before a flow moves for the sake of balance. */
  readonly stable?: number;
  readonly acts: OwnershipActs;
}

const STABLE = 15_000;
/** Flows a node asks others for at once. */
const MOST_ASKED = 16;
/** After this long an owner that does not hand a flow over stands in nobody's way. */
const ASKED_FOR = 60_000;
/** An owner that stayed this long has shown that the flow does not end its nodes. */
const STAYED = 300_000;
/** Something that differs from every revision: what is not there. */
const ABSENT = null;

/**
 * Who owns which elected flow, and what this node does about it: the rules alone, without a store, a
 * timer or a promise. An owner is always written by itself, by compare-and-set, with a higher epoch
 * than any before; and only over a claim that is free, its own, or of a node that is surely gone.
 */
export class Ownership {
  readonly placement = new Placement();
  readonly #options: OwnershipOptions;
  readonly #members: Membership;
  readonly #acts: OwnershipActs;
  readonly #stable: number;
  readonly #seats = new Map<string, Seat>();
  /** When to decide about a flow again, on the monotonic clock. */
  readonly #due = new Map<string, number>();
  #firstDue = Infinity;
  /** Flows that this node asked others for, and when. */
  readonly #asked = new Map<string, number>();
  #balanceAt = Infinity;
  #loaded = false;

  constructor(options: OwnershipOptions) {
    this.#options = options;
    this.#members = options.members;
    this.#acts = options.acts;
    this.#stable = options.stable ?? STABLE;
  }

  get wakeAt(): number {
    return Math.min(this.#firstDue, this.#balanceAt);
  }

  tick(): void {
    const now = this.#now();
    if (now >= this.#firstDue) {
      const due = [...this.#due].filter(([, at]) => at <= now).map(([flow]) => flow);
      for (const flow of due) this.#due.delete(flow);
      this.#firstDue = this.#due.values().reduce((first, at) => Math.min(first, at), Infinity);
      for (const flow of due) this.#decide(this.#seat(flow));
    }
    if (now >= this.#balanceAt) this.#balance();
  }

  /** All claims were listed once; nothing is decided before. */
  loaded(): void {
    this.#loaded = true;
    this.changed();
  }

  /** Other nodes live, or this node's right began. */
  changed(): void {
    const { id } = this.#members;
    this.placement.setNodes([id, ...[...this.#members.peers()].map((peer) => peer.id)]);
    for (const seat of this.#seats.values()) this.#assign(seat);
    for (const seat of this.#seats.values()) this.#decide(seat);
    this.#balanceAt = this.#members.stableSince + this.#stable;
  }

  /** The right to run has ended. */
  ended(): void {
    for (const seat of this.#seats.values()) {
      if (seat.phase === "running") this.#lose(seat);
      else if (seat.phase === "ending") this.#acts.expire(seat.flow);
    }
  }

  stand(flow: string): void {
    const seat = this.#seat(flow);
    seat.standing = true;
    seat.freeSince = undefined;
    this.#decide(seat);
  }

  /** The candidate stands no longer; what it ran has ended. */
  withdraw(flow: string): void {
    const seat = this.#seat(flow);
    seat.standing = false;
    if (seat.phase === "running") seat.phase = "idle";
    this.#decide(seat);
  }

  claimOf(flow: string): ClaimRecord | null {
    return this.#seats.get(flow)?.claim?.record ?? null;
  }

  /** Whether nothing of this node is at work on a flow, and its claim says so too. */
  isOut(flow: string): boolean {
    const seat = this.#seats.get(flow);
    return !seat || (seat.phase === "idle" && !seat.writing && !seat.reading && !seat.doubtful &&
      seat.claim?.record.node !== this.#members.id);
  }

  *claims(): Generator<{ flow: string; record: ClaimRecord }> {
    for (const { flow, claim } of this.#seats.values()) {
      if (claim) yield { flow, record: claim.record };
    }
  }

  /** What a drain or a loss was waiting for has ended. */
  settled(flow: string): void {
    const seat = this.#seat(flow);
    seat.phase = "idle";
    this.#decide(seat);
  }

  /** A claim as a list or a watch showed it. */
  saw(flow: string, seen: Seen<ClaimRecord>): void {
    const seat = this.#seat(flow);
    if (seat.writing) {
      const own = seen.record.node === seat.writing.node &&
        seen.record.epoch === seat.writing.epoch;
      seat.missed ||= !own || seen.record.next !== seat.writing.next;
      return;
    }
    if (this.#accept(seat, seen)) this.#decide(seat);
  }

  /** The answer to `acts.write`. */
  written(flow: string, record: ClaimRecord, result: Written): void {
    const seat = this.#seat(flow);
    seat.writing = undefined;
    if (typeof result === "string") {
      this.#accept(seat, { record, revision: result });
      const claimed = record.node === this.#members.id && record.epoch > seat.epoch;
      if (claimed && seat.standing && seat.phase === "idle" && this.#members.mayRun()) {
        this.#start(seat);
      }
      seat.doubtful = seat.missed;
      this.#decide(seat);
    } else {
      seat.doubtful = true;
      if (result === null) seat.stale = seat.claim?.revision ?? ABSENT;
      if (result === null) this.#read(seat);
      else this.#wait(seat, this.#now() + this.#pause);
    }
    seat.missed = false;
  }

  /** Whether a write that has not been sent yet would be too late: its claim is another one by now. */
  isOvertaken(flow: string): boolean {
    return this.#seat(flow).missed;
  }

  /** The answer to `acts.write` that such a write was not sent. */
  unsent(flow: string): void {
    const seat = this.#seat(flow);
    seat.writing = undefined;
    seat.missed = false;
    seat.doubtful = true;
    this.#decide(seat);
  }

  /** The answer to `acts.read`. */
  answered(flow: string, read: Read<ClaimRecord>): void {
    const seat = this.#seat(flow);
    seat.reading = false;
    // What a write failed on, or what is older than what is known, was read late.
    const late = read && (read.revision === seat.stale || read.record.epoch < seat.floor);
    if (read === undefined || late || (read === null && seat.stale === ABSENT)) {
      return this.#wait(seat, this.#now() + this.#pause);
    }
    seat.doubtful = false;
    seat.stale = undefined;
    if (read) this.#accept(seat, read);
    else seat.claim = null;
    this.#decide(seat);
  }

  /** Takes in what was seen, unless it is older than what is known. */
  #accept(seat: Seat, seen: Seen<ClaimRecord>): boolean {
    if (seen.record.epoch < seat.floor || seen.revision === seat.claim?.revision) return false;
    seat.claim = seen;
    seat.floor = seen.record.epoch;
    this.#assign(seat);
    if (this.#asked.has(seat.flow) && !this.#isAskedFor(seat)) {
      this.#asked.delete(seat.flow);
      if (this.#asked.size === 0) this.#balanceAt = Math.min(this.#balanceAt, this.#now());
    }
    return true;
  }

  #decide(seat: Seat): void {
    this.#due.delete(seat.flow);
    if (!this.#loaded || seat.writing || seat.reading || seat.phase === "ending") return;
    if (seat.doubtful) return this.#read(seat);
    if (seat.phase === "running") this.#decideRunning(seat);
    else if (!seat.standing) this.#giveUp(seat);
    else if (this.#members.mayRun()) this.#decideIdle(seat);
  }

  #decideRunning(seat: Seat): void {
    const claim = seat.claim?.record;
    // Nobody takes a claim from a node that lives; were it so, two would run.
    if (claim?.node !== this.#members.id || claim.epoch !== seat.epoch) return this.#lose(seat);
    if (this.#isLiveOther(claim.next)) {
      seat.phase = "ending";
      return this.#acts.drain(seat.flow);
    }
    if (!claim.takeovers) return;
    const at = seat.since + STAYED;
    if (this.#now() < at) this.#wait(seat, at);
    else this.#write(seat, { ...claim, takeovers: undefined });
  }

  /** A claim of this node for a flow that it does not stand for, or not any more. */
  #giveUp(seat: Seat): void {
    const claim = seat.claim?.record;
    if (claim?.node !== this.#members.id) return;
    const { epoch, next, takeovers } = claim;
    this.#write(seat, { node: null, epoch, next, from: this.#members.id, takeovers });
  }

  #decideIdle(seat: Seat): void {
    const claim = seat.claim?.record;
    const owner = claim?.node ?? null;
    if (owner === this.#members.id) {
      // Drained for another node; or a term that was cut short, or a claim whose answer was lost.
      if (this.#isLiveOther(claim!.next)) {
        const { epoch, next, takeovers } = claim!;
        return this.#write(seat, { node: null, epoch, next, takeovers });
      }
      return this.#claim(seat, claim!.takeovers);
    }
    const life = owner === null ? "gone" : this.#members.lifeOf(owner);
    if (life === "unknown") {
      this.#members.ask(owner!);
      return this.#wait(seat, this.#now() + this.#pause);
    }
    if (life === "live") {
      seat.freeSince = undefined;
      return;
    }
    seat.freeSince ??= this.#now();
    const takeovers = claim?.takeovers ?? 0;
    const at = seat.freeSince + this.#placeInLine(seat.flow, claim) * this.#options.renew +
      (owner === null ? 0 : pauseAfter(takeovers));
    if (this.#now() < at) this.#wait(seat, at);
    else this.#claim(seat, owner === null ? takeovers : takeovers + 1);
  }

  /** 0: may claim at once. */
  #placeInLine(flow: string, claim: ClaimRecord | undefined): number {
    const { id } = this.#members;
    if (claim?.next === id) return 0;
    if (claim?.from === id) return this.placement.size - 1;
    const place = this.placement.rank(flow, id, claim?.from);
    return this.#isLiveOther(claim?.next) ? place + 1 : place;
  }

  #claim(seat: Seat, takeovers: number | undefined): void {
    const epoch = Math.max(seat.floor + 1, Math.floor(this.#options.clock.now()));
    this.#write(seat, { node: this.#members.id, epoch, takeovers: takeovers || undefined });
  }

  #start(seat: Seat): void {
    seat.phase = "running";
    seat.epoch = seat.claim!.record.epoch;
    seat.since = this.#now();
    seat.freeSince = undefined;
    this.#acts.start(seat.flow, seat.epoch);
  }

  #lose(seat: Seat): void {
    seat.phase = "ending";
    this.#acts.lose(seat.flow);
  }

  /** Asks others for flows that should be here; some at a time, the ones that hash here first. */
  #balance(): void {
    const members = this.#members;
    const now = this.#now();
    this.#balanceAt = Infinity;
    if (!members.mayRun()) return;
    if (now < members.stableSince + this.#stable) {
      this.#balanceAt = members.stableSince + this.#stable;
      return;
    }
    for (const [flow, since] of this.#asked) if (now >= since + ASKED_FOR) this.#asked.delete(flow);
    for (const kind of ["closer", "relief"] as const) {
      if (this.#asked.size > 0) break;
      for (const seat of this.#seats.values()) {
        if (this.#asked.size >= MOST_ASKED) break;
        if (this.#isWanted(seat, kind)) this.#ask(seat);
      }
    }
    this.#balanceAt = now + ASKED_FOR;
  }

  #isWanted({ flow, standing, phase, claim, writing, doubtful }: Seat, kind: string): boolean {
    if (!standing || phase !== "idle" || writing || doubtful || this.#asked.has(flow)) return false;
    const { node, next } = claim?.record ?? {};
    return this.#isLiveOther(node) && !this.#isLive(next) &&
      this.placement.wants(flow, node, this.#members.id) === kind;
  }

  #ask(seat: Seat): void {
    this.#asked.set(seat.flow, this.#now());
    this.placement.assign(seat.flow, this.#members.id);
    this.#write(seat, { ...seat.claim!.record, next: this.#members.id });
  }

  /** Whether an owner has yet to hand the flow over to this node. */
  #isAskedFor({ claim }: Seat): boolean {
    return this.#isLiveOther(claim?.record.node) && claim?.record.next === this.#members.id;
  }

  #write(seat: Seat, record: ClaimRecord): void {
    seat.writing = record;
    this.#acts.write(seat.flow, record, seat.claim?.revision ?? null);
  }

  #read(seat: Seat): void {
    if (seat.reading) return;
    seat.reading = true;
    this.#acts.read(seat.flow);
  }

  #wait(seat: Seat, at: number): void {
    this.#due.set(seat.flow, at);
    this.#firstDue = Math.min(this.#firstDue, at);
  }

  /** Counts a flow for whom it goes to, or else for whom it belongs to. */
  #assign({ flow, claim }: Seat): void {
    const { node = null, next } = claim?.record ?? {};
    this.placement.assign(
      flow,
      this.#isLive(next) ? next : this.#isLive(node) ? node : null,
    );
  }

  #isLive(node: string | null | undefined): node is string {
    return typeof node === "string" && this.#members.lifeOf(node) === "live";
  }

  #isLiveOther(node: string | null | undefined): node is string {
    return node !== this.#members.id && this.#isLive(node);
  }

  #seat(flow: string): Seat {
    let seat = this.#seats.get(flow);
    if (!seat) this.#seats.set(flow, seat = newSeat(flow));
    return seat;
  }

  get #pause(): number {
    return this.#options.renew / 4;
  }

  #now(): number {
    return this.#options.clock.monotonic();
  }
}
