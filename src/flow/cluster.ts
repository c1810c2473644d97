/** What the rest of the house knows of other nodes: who is alive, and who may run an elected flow. */

/** One turn of this node at running an elected flow. */
export interface Term {
  /** Grows from owner to owner; hand it to systems that can refuse what comes from an older one. */
  readonly epoch: number;
  /** Whether something new may be started now. Cheap, and asked before every attempt. */
  mayRun(): boolean;
  /** Fires when the right to run has ended, at the latest when `mayRun` turns false. */
  readonly signal: AbortSignal;
}

/** What a node does with an elected flow. Calls do not overlap: start, drain or lose, start again. */
export interface Candidate {
  /** This node owns the flow now. Must not throw. */
  start(term: Term): void;
  /** Take nothing more in; resolves when the last delivery has ended. Then the claim passes on. */
  drain(): Promise<void>;
  /** The right is gone already: start nothing more. Resolves when the flow could be started again. */
  lose(): Promise<void>;
}

/** The claim of a flow as this node last saw it. */
export interface ClaimView {
  readonly flow: string;
  /** `null`: nobody owns it. */
  readonly owner: string | null;
  readonly epoch: number;
  /** The node it is being handed to. */
  readonly next: string | null;
}

/** A node's standing for one flow. */
export interface Candidacy {
  readonly claim: ClaimView | null;
  /** Stands no longer and releases the claim. The flow has ended on this node before. */
  withdraw(): Promise<void>;
}

export interface NodeView {
  readonly id: string;
  /** RFC 3339, by the node's own clock. */
  readonly started: string;
  readonly version: string;
  readonly host: string;
  readonly self: boolean;
  /** Elected flows it owns. */
  readonly flows: number;
}

/** Who polls one of `sources:`. */
export interface SourceView {
  readonly source: string;
  /** `null`: nobody for now. */
  readonly owner: string | null;
}

export interface ClusterView {
  /** Whether this node's own record moves, so that it may run what it owns and judge others. */
  readonly member: boolean;
  readonly nodes: readonly NodeView[];
  readonly flows: readonly ClaimView[];
  readonly sources: readonly SourceView[];
}

/** In front of the names of sources where nodes stand for them; no flow's identity begins so. */
const SOURCE = "/sources/";

/** What nodes that could poll a source stand for. */
export function turnOfSource(name: string): string {
  return SOURCE + name;
}

/** Claims by what they are of. */
export function viewOfClaims(
  claims: Iterable<ClaimView>,
): Pick<ClusterView, "flows" | "sources"> {
  const flows: ClaimView[] = [];
  const sources: SourceView[] = [];
  for (const claim of claims) {
    const { flow, owner } = claim;
    if (flow.startsWith(SOURCE)) sources.push({ source: flow.slice(SOURCE.length), owner });
    else flows.push(claim);
  }
  return { flows, sources };
}

export interface Cluster {
  /** New at every start, and again when the node had to rejoin: read it when it is needed. */
  readonly nodeId: string;
  /** Whether no other process can have the store: then nothing of an elected flow needs a fence. */
  readonly alone: boolean;
  /** Milliseconds. */
  readonly renewInterval: number;
  /** Whether this node may start anything that others could be running too. */
  mayRun(): boolean;
  /** Whether that node can no longer be at work. Asks the store when it is not sure. */
  isGone(node: string): Promise<boolean>;
  /** This node's place in the hash order of the live nodes for a name; 0 is first. */
  rank(name: string): number;
  /** Stands for a flow that was prepared. One candidacy for a flow at a time. */
  stand(flow: string, candidate: Candidate): Candidacy;
  view(): ClusterView;
}

/** The cluster of a runtime that is alone with its store. */
export function soloCluster(
  { nodeId, now, version = "", host = "", alone = true }: {
    nodeId: string;
    now: () => number;
    version?: string;
    host?: string;
    alone?: boolean;
  },
): Cluster {
  const started = new Date(now()).toISOString();
  const claims = new Map<string, ClaimView>();
  return {
    nodeId,
    alone,
    renewInterval: 0,
    mayRun: () => true,
    // Every other id is that of an earlier process.
    isGone: (node) => Promise.resolve(node !== nodeId),
    rank: () => 0,
    stand(flow, candidate) {
      const ended = new AbortController();
      const claim = { flow, owner: nodeId, epoch: now(), next: null };
      claims.set(flow, claim);
      candidate.start({
        epoch: claim.epoch,
        mayRun: () => !ended.signal.aborted,
        signal: ended.signal,
      });
      return {
        claim,
        withdraw() {
          ended.abort();
          claims.delete(flow);
          return Promise.resolve();
        },
      };
    },
    view() {
      const { flows, sources } = viewOfClaims(claims.values());
      const self = { id: nodeId, started, version, host, self: true, flows: flows.length };
      return { member: true, nodes: [self], flows, sources };
    },
  };
}
