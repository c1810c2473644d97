import type { Clock } from "../core/clock.ts";
import type { Revision } from "../flow/store.ts";
import type { NodeRecord, Read, Seen, Written } from "./record.ts";

/** What membership wants done. Each call is answered later by the method that its comment names. */
export interface MembershipActs {
  /** Write the node's own record, a new one when `seen` is `null`. Answer: `renewed`. */
  renew(id: string, beat: number, seen: Revision | null): void;
  /** Replace a node's record by one that says `gone`. Answer: `replaced`. */
  replace(id: string, seen: Seen<NodeRecord> | null): void;
  /** Read one record, from where nothing is late. Answer: `answered`. */
  read(id: string): void;
  /** The right to run has ended; whatever runs under it must not start anything more. */
  ended(): void;
  /** Who lives, who is gone or this node's own right is not what it was. */
  changed(): void;
}

export interface MembershipOptions {
  readonly clock: Pick<Clock, "now" | "monotonic">;
  /** Milliseconds. */
  readonly lease: number;
  readonly renew: number;
  readonly newId: () => string;
  readonly acts: MembershipActs;
}

/** `unknown`: not seen yet, or forgotten; only the store can tell. */
export type Life = "live" | "gone" | "unknown";

interface Peer {
  /** `null`: its end is final. */
  seen: Seen<NodeRecord> | null;
  /** Since when its revision has not moved, on our monotonic clock. */
  since: number;
  /** A replacement is under way. */
  busy: boolean;
}

/** Milliseconds by which two clocks may seem apart because one of them shows no fractions, or is slewed. */
const JITTER = 50;

/** Renewals whose answers are kept track of; older ones may still be carried out but count no more. */
const MOST_SENT = 16;

/**
 * Who is alive, and until when this node may run what others could run too: the rules alone, without
 * a store, a timer or a promise.
 *
 * Why two nodes never run under one claim: a right ends `lease - renew` after its renewal was *sent*.
 * Whoever wants the node gone must have seen that renewal's revision, which is later, must have seen
 * it unmoved for `lease`, and must then win a compare-and-set against the node's next renewal. The
 * `renew` between the two is what clocks may differ by in speed.
 */
export class Membership {
  readonly #options: MembershipOptions;
  readonly #peers = new Map<string, Peer>();
  /** Nodes whose record was asked for because someone named them. */
  readonly #asked = new Set<string>();

  #id: string;
  #started = 0;
  #revision: Revision | null = null;
  /** The beat that made `#revision`. */
  #known = 0;
  #beat = 0;
  /** When renewals were sent whose end is not known yet. */
  readonly #sent = new Map<number, number>();
  #doubtful = false;

  /** The end of the right, on the monotonic clock. */
  #until = -Infinity;
  /** How far the clock on the wall is ahead of the monotonic one. */
  #ahead: number;
  #running = false;
  #renewAt = -Infinity;
  #closed = false;

  /** The newest own beat seen where others are seen, and when. */
  #ownBeat = 0;
  #ownAt = -Infinity;
  #stableSince: number;

  constructor(options: MembershipOptions) {
    this.#options = options;
    this.#id = options.newId();
    this.#stableSince = options.clock.monotonic();
    this.#ahead = options.clock.now() - this.#stableSince;
  }

  get id(): string {
    return this.#id;
  }

  /** Whether this node may start anything that others could be running too. */
  mayRun(): boolean {
    const { clock } = this.#options;
    const now = clock.monotonic();
    const ahead = clock.now() - now;
    if (ahead > this.#ahead || ahead < this.#ahead - JITTER) this.#step(ahead);
    if (now < this.#until) return true;
    // Also when no timer could say so: after a blocked loop, a pause or a step of the wall clock.
    this.#end();
    return false;
  }

  /** How long the set of live nodes has been the same, on the monotonic clock. */
  get stableSince(): number {
    return this.#stableSince;
  }

  lifeOf(id: string): Life {
    if (id === this.#id) return this.#revision === null ? "unknown" : "live";
    const peer = this.#peers.get(id);
    return peer ? peer.seen ? "live" : "gone" : "unknown";
  }

  /** Other nodes that live, as far as this one knows. */
  *peers(): Generator<{ id: string; record: NodeRecord }> {
    for (const [id, { seen }] of this.#peers) if (seen) yield { id, record: seen.record };
  }

  /** When this node took its present id, by its wall clock. */
  get started(): number {
    return this.#started;
  }

  /** The monotonic instant at which `tick` has something to do. */
  get wakeAt(): number {
    if (this.#closed) return Infinity;
    let at = this.#renewAt;
    if (this.#running) at = Math.min(at, this.#until);
    if (this.#running && this.#seesItself()) {
      for (const peer of this.#peers.values()) {
        if (peer.seen && !peer.busy) at = Math.min(at, peer.since + this.#options.lease);
      }
    }
    return at;
  }

  tick(): void {
    if (this.#closed) return;
    this.mayRun();
    if (this.#now() >= this.#renewAt) this.#renew();
    this.#judge();
  }

  /** The answer to `acts.renew`. */
  renewed(id: string, beat: number, seen: Revision | null, result: Written): void {
    if (id !== this.#id) return;
    if (result === undefined) this.#retrySoon();
    else if (result !== null) this.#confirm(beat, result);
    else if (seen === this.#revision && !this.#closed) {
      // Replaced by another node, or by a renewal of our own whose answer was lost.
      this.#doubtful = true;
      this.#options.acts.read(id);
    }
  }

  /** The answer to `acts.replace`. */
  replaced(id: string, result: Written): void {
    const peer = this.#peers.get(id);
    if (peer) peer.busy = false;
    if (typeof result === "string") this.#bury(id);
    else {
      // Moved after all, or nobody knows: in a moment again, should what is read not say otherwise.
      if (peer) peer.since = Math.max(peer.since, this.#now() + this.#pause - this.#options.lease);
      if (result === null) this.#options.acts.read(id);
      else this.#asked.delete(id);
    }
  }

  /** The answer to `acts.read`. */
  answered(id: string, read: Read<NodeRecord>): void {
    if (id === this.#id) {
      this.#answeredOwn(read);
    } else if (read) {
      this.#asked.delete(id);
      this.saw(id, read);
    } else if (read === undefined) {
      this.#asked.delete(id);
    } else if (this.lifeOf(id) !== "gone") {
      // Creating what should not be there proves that a node which just joined was not overlooked.
      this.#options.acts.replace(id, null);
    }
  }

  /** A record as a list or a watch showed it. */
  saw(id: string, seen: Seen<NodeRecord>): void {
    if (id === this.#id) return this.#sawOwn(seen);
    const peer = this.#peers.get(id);
    if (peer?.seen === null) return;
    if (seen.record.state !== "live") return this.#bury(id);
    if (!peer) {
      this.#peers.set(id, { seen, since: this.#now(), busy: false });
      this.#regroup();
    } else if (
      seen.record.beat >= peer.seen.record.beat && seen.revision !== peer.seen.revision
    ) {
      peer.seen = seen;
      peer.since = this.#now();
    }
  }

  /** A list has ended: forgets gone nodes that are not in it. */
  listed(ids: { has(id: string): boolean }): void {
    for (const [id, { seen }] of this.#peers) if (!seen && !ids.has(id)) this.#peers.delete(id);
  }

  /** Finds out about a node of which `lifeOf` says `unknown`. */
  ask(id: string): void {
    if (this.#asked.has(id) || this.lifeOf(id) !== "unknown" || id === this.#id) return;
    this.#asked.add(id);
    this.#options.acts.read(id);
  }

  /** Ends the right and all renewing. */
  close(): void {
    this.#closed = true;
    this.#until = -Infinity;
    this.#end();
  }

  /** The own record as it was last known to be in the store; `null` before it was. */
  get revision(): Revision | null {
    return this.#revision;
  }

  #renew(): void {
    const { clock, acts } = this.#options;
    if (this.#beat === 0) this.#started = clock.now();
    this.#beat++;
    this.#sent.set(this.#beat, this.#now());
    if (this.#sent.size > MOST_SENT) this.#sent.delete(this.#sent.keys().next().value!);
    // Unless an answer says otherwise before.
    this.#renewAt = this.#now() + this.#options.renew / 2;
    acts.renew(this.#id, this.#beat, this.#revision);
  }

  /** The store has carried out the renewal `beat`. */
  #confirm(beat: number, revision: Revision): void {
    if (beat <= this.#known) return;
    const { lease, renew, acts } = this.#options;
    this.#known = beat;
    this.#revision = revision;
    this.#doubtful = false;
    const sent = this.#sent.get(beat);
    for (const other of this.#sent.keys()) if (other <= beat) this.#sent.delete(other);
    if (sent === undefined || this.#closed) return;
    this.#until = sent + lease - renew;
    this.#renewAt = sent + renew;
    if (!this.#running && this.mayRun()) {
      this.#running = true;
      this.#stableSince = this.#now();
      acts.changed();
    }
  }

  #answeredOwn(read: Read<NodeRecord>): void {
    if (read === undefined) return this.#retrySoon();
    if (read?.record.state === "live") {
      this.#confirm(read.record.beat, read.revision);
      // What was read is behind what we know, and the next renewal will ask again.
      return this.#retrySoon();
    }
    if (this.#doubtful && (read || this.#revision !== null)) this.#rejoin(read !== null);
  }

  #sawOwn({ record, revision }: Seen<NodeRecord>): void {
    if (record.state !== "live") return this.#rejoin(true);
    this.#confirm(record.beat, revision);
    if (record.beat <= this.#ownBeat) return;
    const now = this.#now();
    this.#ownBeat = record.beat;
    // What else did not move while it should have moved may have moved unseen, or not been able to.
    const blind = now - this.#ownAt - this.#options.renew;
    if (blind > 0) {
      for (const peer of this.#peers.values()) peer.since = Math.min(now, peer.since + blind);
    }
    this.#ownAt = now;
  }

  /** Whether what does not move here does not move in the store either. */
  #seesItself(): boolean {
    return this.#now() - this.#ownAt <= this.#options.renew;
  }

  #judge(): void {
    if (!this.#running || !this.#seesItself()) return;
    const latest = this.#now() - this.#options.lease;
    for (const [id, peer] of this.#peers) {
      if (!peer.seen || peer.busy || peer.since > latest) continue;
      peer.busy = true;
      this.#options.acts.replace(id, peer.seen);
    }
  }

  #bury(id: string): void {
    this.#asked.delete(id);
    if (this.lifeOf(id) === "gone") return;
    this.#peers.set(id, { seen: null, since: 0, busy: false });
    this.#regroup();
  }

  /** `replaced`: another node has ended this one; otherwise its record is not there any more. */
  #rejoin(replaced: boolean): void {
    if (this.#closed) return;
    this.#until = -Infinity;
    this.#end();
    if (replaced) this.#peers.set(this.#id, { seen: null, since: 0, busy: false });
    this.#id = this.#options.newId();
    this.#revision = null;
    this.#known = this.#beat = this.#ownBeat = 0;
    this.#sent.clear();
    this.#doubtful = false;
    this.#ownAt = -Infinity;
    this.#renewAt = this.#now();
    this.#regroup();
  }

  /** The wall clock was set, or the monotonic one stood still while the machine was suspended. */
  #step(ahead: number): void {
    const missed = ahead - this.#ahead;
    this.#ahead = ahead;
    if (missed <= 0) return;
    // The faster of the two is right. What it has shown once counts, even when it is set back later.
    this.#until -= missed;
    this.#renewAt -= missed;
    for (const [beat, sent] of this.#sent) this.#sent.set(beat, sent - missed);
  }

  #end(): void {
    if (!this.#running) return;
    this.#running = false;
    this.#options.acts.ended();
  }

  #regroup(): void {
    this.#stableSince = this.#now();
    this.#options.acts.changed();
  }

  #retrySoon(): void {
    this.#renewAt = Math.min(this.#renewAt, this.#now() + this.#pause);
  }

  get #pause(): number {
    return this.#options.renew / 4;
  }

  #now(): number {
    return this.#options.clock.monotonic();
  }
}
