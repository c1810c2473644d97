/**
 * A world for the protocol alone: processes, a store, a network and time, simulated in one loop without
 * promises, so that a schedule takes microseconds. Every step of the world is a chance for each flow
 * that thinks it may run to start an attempt, and all attempts are written down in one journal.
 */
import type { Random } from "../../core/random.ts";
import type { ClaimRecord, NodeRecord, Seen, Written } from "../record.ts";
import { Agenda } from "./agenda.ts";
import { Incarnation, RENEW, Slot, WALL } from "./slot.ts";

/** After this long a request counts as not answered; in some worlds nobody gives up so soon. */
const PATIENCE = 6_000;
const LONG_PATIENCE = 30_000;
/** How often all claims are looked at, missed nudges or not. */
const LOOK_AGAIN = 10_000;
/** How long a drain or a loss takes at most. */
const LONGEST_END = 3_000;

/** A promise of the protocol that was broken. */
export class Violation extends Error {}

/** All versions of one record, with the instants at which they came. */
export type History<R> = { readonly at: number; readonly seen: Seen<R> }[];

export class World extends Agenda {
  readonly nodes = new Map<string, History<NodeRecord>>();
  readonly claims = new Map<string, History<ClaimRecord>>();
  readonly slots: Slot[];
  /** The newest epoch under which an attempt was started, and by whom. */
  readonly journal = new Map<string, { epoch: number; by: Incarnation }>();
  /** Whether a node that runs may be declared gone. */
  mayJudge = true;
  readonly #patience: number;
  /** In some worlds the first process stands for nothing. */
  readonly #idle: boolean;
  #ids = 0;
  #revisions = 0;

  constructor(
    readonly random: Random,
    readonly flows: readonly string[],
    rates: readonly number[],
    readonly trace: string[] | null,
  ) {
    super();
    this.#patience = this.chance(0.2) ? LONG_PATIENCE : PATIENCE;
    this.#idle = this.chance(0.2);
    this.slots = rates.map((rate, i) => new Slot(this, "abc"[i]!, rate));
    for (const slot of this.slots) this.#boot(slot);
  }

  newId(): number {
    return this.#ids++;
  }

  /** A whole number from 0 to `below`. */
  pick(below: number): number {
    return Math.floor(this.random.next() * below);
  }

  chance(probability: number): boolean {
    return this.random.next() < probability;
  }

  note(slot: Slot, what: string): void {
    this.trace?.push(`${String(this.now).padStart(6)} ${slot.name} ${what}`);
  }

  /** Does something inside a process, once it is not paused. */
  inside(inc: Incarnation, run: () => void): void {
    if (inc.dead) return;
    const { slot } = inc;
    const { trouble } = slot;
    if (trouble.pausedUntil > this.now) {
      return this.after(trouble.pausedUntil - this.now, () => this.inside(inc, run));
    }
    trouble.suspended &&= (slot.monotonic(), false);
    this.attempt(inc);
    run();
    const wake = Math.min(inc.members.wakeAt, inc.flows.wakeAt);
    const at = this.now + Math.max(1, (wake - slot.monotonic()) / slot.rate);
    if (at >= inc.timer - 1 || at === Infinity) return;
    inc.timer = at;
    this.after(at - this.now, () => {
      if (inc.timer !== at) return;
      this.inside(inc, () => {
        inc.timer = Infinity;
        inc.members.tick();
        inc.flows.tick();
      });
    });
  }

  /** What a process does with every chance it gets: starts an attempt of what it may run. */
  attempt(inc: Incarnation): void {
    for (const [flow, turn] of inc.turns) {
      if (turn.over || !inc.members.mayRun() || turn.over) continue;
      const last = this.journal.get(flow);
      if (last && (last.epoch > turn.epoch || (last.epoch === turn.epoch && last.by !== inc))) {
        throw new Violation(
          `${inc.members.id} runs ${flow} under epoch ${turn.epoch} after ${last.by.members.id} ` +
            `ran it under ${last.epoch}`,
        );
      }
      if (last?.epoch !== turn.epoch) this.journal.set(flow, { epoch: turn.epoch, by: inc });
    }
  }

  start(inc: Incarnation, flow: string, epoch: number): void {
    this.note(inc.slot, `${inc.members.id} starts ${flow} under ${epoch - WALL}`);
    if (inc.turns.has(flow)) throw new Violation(`${inc.members.id} starts ${flow} twice`);
    inc.turns.set(flow, { epoch, over: false, state: "running" });
    this.attempt(inc);
    // Whoever else could start something now is wrong.
    for (const { inc: other, trouble } of this.slots) {
      if (!other.dead && trouble.pausedUntil <= this.now) this.attempt(other);
    }
  }

  end(inc: Incarnation, flow: string, lost: boolean): void {
    this.note(inc.slot, `${inc.members.id} ${lost ? "loses" : "drains"} ${flow}`);
    const turn = inc.turns.get(flow);
    if (turn?.state !== "running") throw new Violation(`${inc.members.id} ends ${flow} twice`);
    turn.over = lost;
    turn.state = "ending";
    this.after(this.pick(LONGEST_END), () =>
      this.inside(inc, () => {
        inc.turns.delete(flow);
        inc.flows.settled(flow);
      }));
  }

  /** Sends something to the store, which is carried out there, or not, and answered, or not. */
  request<T>(inc: Incarnation, carryOut: () => T, answer: (result: T | undefined) => void): void {
    const { trouble } = inc.slot;
    const lost = trouble.loseRequests || inc.dead;
    const there = this.way(inc.slot);
    const back = this.way(inc.slot);
    const fails = this.chance(0.5) ? 50 : this.#patience;
    const unanswered = () => this.after(fails, () => this.inside(inc, () => answer(undefined)));
    if (lost) return unanswered();
    const late = there + back > this.#patience || trouble.loseAnswers;
    if (late) unanswered();
    this.after(there, () => {
      const result = carryOut();
      if (!late) this.after(back, () => this.inside(inc, () => answer(result)));
    });
  }

  /** Milliseconds that a message takes. */
  way({ trouble }: Slot): number {
    return 1 + this.pick(trouble.slow > 0 && this.chance(0.3) ? trouble.slow : 20);
  }

  writeNode(id: string, state: NodeRecord["state"], beat: number, seen: string | null): Written {
    const record: NodeRecord = { state, beat, started: "", version: "", host: "" };
    const history = this.nodes.get(id);
    const written = this.#write(this.nodes, id, record, seen);
    if (!written) return null;
    if (state === "gone" && history) {
      const slot = this.slots.find(({ inc }) => !inc.dead && inc.members.id === id);
      if (slot) this.note(slot, `${id} is declared gone`);
      if (slot && !this.mayJudge) throw new Violation(`${id} lives and was declared gone`);
    }
    for (const { inc } of this.slots) {
      // Its own is seen in the list that follows a renewal.
      if (inc.members.id === id) continue;
      this.#nudge(inc, () => {
        const read = this.version(this.nodes.get(id), inc.slot);
        if (read) inc.members.saw(id, read);
      });
    }
    return written;
  }

  writeClaim(flow: string, record: ClaimRecord, seen: string | null): Written {
    const before = this.claims.get(flow)?.at(-1)?.seen.record;
    const written = this.#write(this.claims, flow, record, seen);
    if (!written) return null;
    const owner = record.node !== null && record.node !== before?.node;
    if (before && (owner ? record.epoch <= before.epoch : record.epoch < before.epoch)) {
      throw new Violation(`the epoch of ${flow} goes from ${before.epoch} to ${record.epoch}`);
    }
    for (const { inc } of this.slots) {
      this.#nudge(inc, () => {
        const read = this.version(this.claims.get(flow), inc.slot);
        if (read) inc.flows.saw(flow, read);
      });
    }
    return written;
  }

  #write<R>(room: Map<string, History<R>>, key: string, record: R, seen: string | null): Written {
    let history = room.get(key);
    if ((history?.at(-1)?.seen.revision ?? null) !== seen) return null;
    if (!history) room.set(key, history = []);
    const revision = `r${++this.#revisions}`;
    history.push({ at: this.now, seen: { record, revision } });
    return revision;
  }

  #nudge(inc: Incarnation, look: () => void): void {
    if (inc.dead || inc.slot.trouble.watchBroken) return;
    this.after(this.way(inc.slot) * 2, () => {
      if (!inc.slot.trouble.loseAnswers) this.inside(inc, look);
    });
  }

  /** What a read finds: the newest version, or an older one where reads may be late. */
  version<R>(history: History<R> | undefined, slot: Slot): Seen<R> | null {
    if (!history) return null;
    const { stale } = slot.trouble;
    if (stale === 0) return history.at(-1)!.seen;
    const then = this.now - this.pick(stale);
    for (let i = history.length - 1; i >= 0; i--) {
      if (history[i]!.at <= then) return history[i]!.seen;
    }
    return null;
  }

  listNodes(inc: Incarnation): void {
    const list = () => {
      const found: [string, Seen<NodeRecord>][] = [];
      for (const [id, history] of this.nodes) {
        const seen = this.version(history, inc.slot);
        if (seen) found.push([id, seen]);
      }
      return found;
    };
    this.request(inc, list, (found) => {
      if (!found) return;
      for (const [id, seen] of found) inc.members.saw(id, seen);
      inc.members.listed(this.nodes);
      inc.nodesListed = true;
      this.#load(inc);
    });
  }

  #lookAtClaims(inc: Incarnation): void {
    if (inc.dead) return;
    const list = () => {
      return [...this.claims].map(([flow, all]) => [flow, this.version(all, inc.slot)] as const);
    };
    this.request(inc, list, (found) => {
      if (found) {
        for (const [flow, seen] of found) if (seen) inc.flows.saw(flow, seen);
        inc.claimsListed = true;
        this.#load(inc);
      }
      this.after(found ? LOOK_AGAIN : RENEW, () => this.#lookAtClaims(inc));
    });
  }

  #load(inc: Incarnation): void {
    if (inc.loaded || !inc.nodesListed || !inc.claimsListed) return;
    inc.loaded = true;
    inc.flows.loaded();
  }

  #boot(slot: Slot): void {
    const { inc } = slot;
    this.note(slot, `boots as ${inc.members.id}`);
    this.inside(inc, () => {
      if (!this.#idle || slot !== this.slots[0]) {
        for (const flow of this.flows) inc.flows.stand(flow);
      }
      inc.members.tick();
      this.#lookAtClaims(inc);
    });
  }

  /** The process is killed; another one starts after a while. */
  kill(slot: Slot, restart: number): void {
    this.note(slot, `${slot.inc.members.id} is killed`);
    this.#gone(slot, restart);
  }

  #gone(slot: Slot, restart: number): void {
    slot.inc.dead = true;
    this.after(restart, () => {
      slot.monotonic();
      slot.trouble.suspended = false;
      slot.inc = new Incarnation(this, slot);
      this.#boot(slot);
    });
  }

  withdraw(inc: Incarnation, flow: string): void {
    const turn = inc.turns.get(flow);
    if (turn) turn.over = true;
    if (turn?.state === "running") inc.turns.delete(flow);
    inc.flows.withdraw(flow);
  }

  /** The process ends in order: withdraws, and says that it leaves. */
  exit(slot: Slot, restart: number): void {
    const { inc } = slot;
    this.inside(inc, () => {
      if (inc.leaving) return;
      inc.leaving = true;
      this.note(slot, `${inc.members.id} leaves`);
      for (const flow of this.flows) this.withdraw(inc, flow);
      this.after(RENEW / 10, () =>
        this.inside(inc, () => {
          inc.members.close();
          const { id, revision } = inc.members;
          const farewell = () => revision && this.writeNode(id, "left", 0, revision);
          this.request(inc, farewell, () => {});
          this.#gone(slot, restart);
        }));
    });
  }
}
