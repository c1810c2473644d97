import { type Clock, sleep, type Timer } from "../core/clock.ts";
import { FlowError } from "../core/errors.ts";
import type { Log } from "../core/log.ts";
import type { Random } from "../core/random.ts";
import type { Candidacy, Candidate, Cluster, ClusterView } from "../flow/cluster.ts";
import type { Revision, Store } from "../flow/store.ts";
import { Again } from "./again.ts";
import { follow } from "./follow.ts";
import { Limiter } from "./limiter.ts";
import { Membership } from "./membership.ts";
import { Ownership } from "./ownership.ts";
import { type ClaimRecord, CLAIMS, type NodeRecord, NODES, type Seen, viewOf } from "./record.ts";
import { Records } from "./records.ts";
import { Turns } from "./turns.ts";
import { clusterView } from "./view.ts";
import { Withdrawals } from "./withdrawals.ts";

/** Milliseconds between two looks at all claims, for nudges that were missed. */
const LOOK_AGAIN = 60_000;

/** Claims written, and read, at the same time. */
const MOST_AT_ONCE = 64;

/** Times a leaving node tries to say so; then the others wait for its lease. */
const MOST_FAREWELLS = 3;

export interface JoinOptions {
  /** The system store, shared by all nodes. Stays open. */
  readonly store: Store;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  readonly version: string;
  readonly host: string;
  /** Milliseconds after which a node that does not renew is taken for gone; more than two `renew`. */
  readonly lease: number;
  /** Milliseconds between two renewals. */
  readonly renew: number;
  /** Must never give the same id twice, on no machine. */
  readonly newId: () => string;
}

export interface ClusterNode extends Cluster, AsyncDisposable {
  /**
   * Tells the others that this node ends, so that they need not wait for its lease. Candidates withdraw
   * before; flows of those that did not are lost first.
   */
  leave(): Promise<void>;
}

/**
 * Makes this process a node of the cluster that shares `store`. Resolves when it is a member, or after
 * one renewal interval without an answer; then it goes on trying.
 *
 * @throws {FlowError} `cluster.lease_invalid`
 */
export async function joinCluster(options: JoinOptions): Promise<ClusterNode> {
  const { lease, renew } = options;
  if (!(renew > 0 && lease > 2 * renew)) {
    throw new FlowError(
      "cluster.lease_invalid",
      `Cannot keep a lease of ${lease} ms by renewing it every ${renew} ms`,
      { hint: "make the lease more than twice as long as the renewal interval" },
    );
  }
  const node = new Node(options);
  await node.join();
  return node;
}

class Node implements ClusterNode {
  readonly #options: JoinOptions;
  readonly #records: Records;
  readonly #members: Membership;
  readonly #flows: Ownership;
  readonly #turns: Turns;
  readonly #stop = new AbortController();
  readonly #jobs = new Set<Promise<void>>();
  #lastId: string;
  #timer: Timer | undefined;
  #armedFor = Infinity;
  readonly #looks = new Again();
  readonly #ready = Promise.withResolvers<void>();
  readonly #writes = new Limiter(MOST_AT_ONCE);
  readonly #reads = new Limiter(MOST_AT_ONCE);
  readonly #withdrawals: Withdrawals;
  /** When to look at all claims again, on the monotonic clock. */
  #lookAt = Infinity;
  #nodesListed = false;
  #claimsListed = false;
  #loaded = false;
  #left: Promise<void> | undefined;

  constructor(options: JoinOptions) {
    const { store, clock, log, lease, renew, newId } = options;
    this.#options = options;
    this.#withdrawals = new Withdrawals(clock);
    this.#records = new Records({ store, clock, log, patience: lease });
    this.#turns = new Turns(this, log, (flow) => this.#on(flow, () => this.#flows.settled(flow)));
    this.#members = new Membership({
      clock,
      lease,
      renew,
      newId,
      acts: {
        renew: (id, beat, seen) => this.#job(() => this.#renew(id, beat, seen)),
        replace: (id, seen) => this.#job(() => this.#replace(id, seen)),
        read: (id) =>
          this.#job(async () => {
            const read = await this.#records.readNode(id);
            this.#do(() => this.#members.answered(id, read));
          }),
        ended: () => this.#ended(),
        changed: () => this.#changed(),
      },
    });
    this.#flows = new Ownership({
      clock,
      renew,
      members: this.#members,
      acts: {
        write: (flow, record, seen) => this.#job(() => this.#claim(flow, record, seen)),
        read: (flow) =>
          this.#job(async () => {
            const read = await this.#records.readClaim(flow);
            this.#on(flow, () => this.#flows.answered(flow, read));
          }),
        start: (flow, epoch) => this.#turns.start(flow, epoch),
        drain: (flow) => this.#turns.drain(flow),
        lose: (flow) => this.#turns.lose(flow),
        expire: (flow) => this.#turns.expire(flow),
      },
    });
    this.#lastId = this.#members.id;
  }

  readonly alone = false;

  get nodeId(): string {
    return this.#members.id;
  }

  get renewInterval(): number {
    return this.#options.renew;
  }

  mayRun(): boolean {
    return this.#members.mayRun();
  }

  rank(name: string): number {
    return this.#flows.placement.rank(name, this.#members.id);
  }

  async isGone(id: string): Promise<boolean> {
    const life = this.#members.lifeOf(id);
    if (id === this.#members.id || life !== "unknown") return life === "gone";
    const read = await this.#records.readNode(id);
    if (read) {
      this.#do(() => this.#members.saw(id, read));
    } else if (read === null) {
      // A node that has just joined could be overlooked; creating its record cannot succeed then.
      await this.#replace(id, null);
    }
    return this.#members.lifeOf(id) === "gone";
  }

  stand(flow: string, candidate: Candidate): Candidacy {
    this.#turns.add(flow, candidate);
    this.#do(() => this.#flows.stand(flow));
    const claimOf = () => this.#flows.claimOf(flow);
    return {
      get claim() {
        const record = claimOf();
        return record && viewOf(flow, record);
      },
      withdraw: () => this.#withdraw(flow, candidate),
    };
  }

  view(): ClusterView {
    return clusterView({
      member: this.mayRun(),
      self: { id: this.nodeId, record: this.#ownRecord(0, "live") },
      peers: this.#members.peers(),
      claims: this.#flows.claims(),
    });
  }

  /** Resolves when this node is a member and knows all claims, or after one renewal interval. */
  async join(): Promise<void> {
    const { store, clock, renew } = this.#options;
    const { signal } = this.#stop;
    const rooms = [
      { room: NODES, one: (id: string) => this.#lookAtNode(id), all: () => this.#listNodes() },
      {
        room: CLAIMS,
        one: (flow: string) => this.#lookAtClaim(flow),
        all: () => this.#listClaims(),
      },
    ];
    for (const room of rooms) {
      this.#job(() => follow({ store, clock, retry: renew, signal, ...room }));
    }
    this.#listClaims();
    this.#tick();
    const patience = new AbortController();
    this.#ready.promise.then(() => patience.abort());
    await sleep(clock, renew, patience.signal);
  }

  leave(): Promise<void> {
    return this.#left ??= this.#leave();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.leave();
  }

  /** Gives the protocol something to think about, and sees to it that it is woken when it wants. */
  #do(input: () => void): void {
    input();
    if (this.#stop.signal.aborted) return;
    if (this.#loaded && this.mayRun()) this.#ready.resolve();
    const at = Math.min(this.#members.wakeAt, this.#flows.wakeAt, this.#lookAt);
    if (at === this.#armedFor) return;
    const { clock } = this.#options;
    this.#armedFor = at;
    this.#timer?.clear();
    // Timers may fire a little early, and what is overdue waits for an answer: not again at once.
    this.#timer = clock.after(Math.max(1, Math.ceil(at - clock.monotonic())), () => this.#tick());
  }

  /** The same, about one flow: its claim may have been released. */
  #on(flow: string, input: () => void): void {
    this.#do(input);
    if (this.#withdrawals.has(flow) && this.#flows.isOut(flow)) this.#withdrawals.ended(flow);
  }

  #tick(): void {
    this.#armedFor = NaN;
    if (this.#options.clock.monotonic() >= this.#lookAt) this.#listClaims();
    this.#do(() => {
      this.#members.tick();
      this.#flows.tick();
    });
  }

  #job(run: () => Promise<void>): Promise<void> {
    const job = run();
    this.#jobs.add(job);
    job.finally(() => this.#jobs.delete(job));
    return job;
  }

  async #renew(id: string, beat: number, seen: Revision | null): Promise<void> {
    const result = await this.#records.writeNode(id, this.#ownRecord(beat, "live"), seen);
    this.#do(() => this.#members.renewed(id, beat, seen, result));
    // Also when nobody else is told of the others: what is seen here is seen with the own record.
    this.#listNodes();
  }

  async #replace(id: string, seen: Seen<NodeRecord> | null): Promise<void> {
    const unknown = { beat: 0, started: "", version: "", host: "" };
    const record: NodeRecord = { ...(seen?.record ?? unknown), state: "gone" };
    const result = await this.#records.writeNode(id, record, seen?.revision ?? null);
    if (typeof result === "string") this.#options.log.info("A node has gone", { node: id });
    this.#do(() => this.#members.replaced(id, result));
  }

  async #claim(flow: string, record: ClaimRecord, seen: Revision | null): Promise<void> {
    await this.#writes.run(async () => {
      // While it waited for its turn, another node may have been faster.
      if (this.#flows.isOvertaken(flow)) return this.#on(flow, () => this.#flows.unsent(flow));
      const result = await this.#records.writeClaim(flow, record, seen);
      this.#on(flow, () => this.#flows.written(flow, record, result));
    });
  }

  #lookAtNode(id: string): Promise<void> {
    return this.#job(async () => {
      const read = await this.#records.readNode(id);
      if (read) this.#do(() => this.#members.saw(id, read));
    });
  }

  #lookAtClaim(flow: string): Promise<void> {
    return this.#job(async () => {
      const read = await this.#reads.run(() => this.#records.readClaim(flow));
      if (read) this.#on(flow, () => this.#flows.saw(flow, read));
    });
  }

  #listNodes(): void {
    this.#look("nodes", async () => {
      const nodes = await this.#records.listNodes();
      if (!nodes) return;
      this.#do(() => {
        for (const [id, seen] of nodes) this.#members.saw(id, seen);
        this.#members.listed(nodes);
        this.#nodesListed = true;
        this.#load();
      });
    });
  }

  #listClaims(): void {
    const { clock, random, renew } = this.#options;
    // Not all nodes at once.
    this.#lookAt = clock.monotonic() + LOOK_AGAIN * (0.75 + random.next() / 2);
    this.#look("claims", async () => {
      const claims = await this.#records.listClaims();
      this.#do(() => {
        if (!claims) {
          this.#lookAt = clock.monotonic() + renew;
          return;
        }
        for (const [flow, seen] of claims) this.#flows.saw(flow, seen);
        this.#claimsListed = true;
        this.#load();
      });
    });
  }

  #look(at: "nodes" | "claims", run: () => Promise<void>): void {
    if (this.#stop.signal.aborted) return;
    this.#job(() => this.#looks.run(at, run));
  }

  /** Nothing is decided before all is known: a node that overlooks others would claim too much. */
  #load(): void {
    if (this.#loaded || !this.#nodesListed || !this.#claimsListed) return;
    this.#loaded = true;
    this.#options.log.info("This node has joined the cluster", { node: this.nodeId });
    this.#flows.loaded();
  }

  #ended(): void {
    if (!this.#stop.signal.aborted) {
      this.#options.log.warning("This node may not run elected flows for now", {
        node: this.nodeId,
      });
    }
    this.#flows.ended();
  }

  #changed(): void {
    const { id } = this.#members;
    if (id !== this.#lastId) {
      this.#options.log.warning("This node was taken for gone and joins again", {
        node: this.#lastId,
        as: id,
      });
      this.#lastId = id;
    }
    this.#flows.changed();
  }

  async #withdraw(flow: string, candidate: Candidate): Promise<void> {
    if (!this.#turns.remove(flow, candidate)) return;
    this.#do(() => this.#flows.withdraw(flow));
    // Without a right there is no hurry: the claim is released when the store is back, or falls free.
    if (this.#flows.isOut(flow) || !this.mayRun()) return;
    await this.#withdrawals.wait(flow, this.#options.renew);
  }

  async #leave(): Promise<void> {
    this.#stop.abort();
    this.#members.close();
    this.#timer?.clear();
    await this.#turns.ended();
    const patience = new AbortController();
    const farewell = this.#sayFarewell().finally(() => patience.abort());
    // A store that does not answer must not keep the process: others wait for the lease then.
    const { clock, lease } = this.#options;
    await Promise.race([farewell, sleep(clock, lease, patience.signal)]);
  }

  async #sayFarewell(): Promise<void> {
    while (this.#jobs.size > 0) await Promise.all(this.#jobs);
    const { nodeId } = this;
    let { revision } = this.#members;
    for (let attempt = 0; attempt < MOST_FAREWELLS && revision !== null; attempt++) {
      const record = this.#ownRecord(0, "left");
      if (await this.#records.writeNode(nodeId, record, revision) !== null) return;
      // A renewal was carried out whose answer was lost, or another node was faster.
      const read = await this.#records.readNode(nodeId);
      revision = read?.record.state === "live" ? read.revision : null;
    }
  }

  #ownRecord(beat: number, state: NodeRecord["state"]): NodeRecord {
    const { version, host } = this.#options;
    return { state, beat, started: new Date(this.#members.started).toISOString(), version, host };
  }
}
