import type { Log } from "../core/log.ts";
import type { FlowRun } from "../engine/flow_run.ts";
import type { Candidacy, Candidate, ClaimView, Cluster, Term } from "../flow/cluster.ts";
import type { Flow } from "../flow/flow.ts";

export interface StandingOptions {
  readonly cluster: Cluster;
  readonly log: Log;
  /** Ends a generation in its own time; never rejects. */
  drain(run: FlowRun): Promise<void>;
  /** This generation is over, and another one has to be made ready. */
  over(run: FlowRun): void;
}

/**
 * An elected flow on this node, from generation to generation: made ready and waiting, or at work while
 * the node has a term. A generation serves under one term only.
 */
export class Standing implements Candidate {
  /** Of the newest generation. */
  flow: Flow;
  #run: FlowRun | null;
  #term: Term | null = null;
  /** What the first generation at work waits for. */
  #before: Promise<void> | undefined;
  #candidacy: Candidacy | null = null;
  readonly #stood: Promise<void>;
  #withdrawn = false;
  /** Whoever made it has been told whether it is at work, and is told from here on. */
  readonly #isMade: boolean;

  /** @param before What ran here until now, not elected, or has not left yet. */
  constructor(run: FlowRun, readonly options: StandingOptions, before?: Promise<void>) {
    this.flow = run.flow;
    this.#run = run;
    this.#before = before;
    const stand = () => {
      if (!this.#withdrawn) this.#candidacy = options.cluster.stand(this.flow.identity, this);
    };
    if (before) this.#stood = before.then(stand);
    else {
      this.#stood = Promise.resolve();
      stand();
    }
    this.#isMade = true;
  }

  /** Whether this node runs the flow. */
  get atWork(): boolean {
    return this.#term !== null;
  }

  get claim(): ClaimView | null {
    return this.#candidacy?.claim ?? null;
  }

  /** The next generation. */
  take(run: FlowRun): void {
    const old = this.#run;
    this.flow = run.flow;
    this.#run = run;
    if (this.#term) run.start(old ? this.options.drain(old) : undefined, this.#term);
    else void old?.discard();
  }

  start(term: Term): void {
    this.#term = term;
    this.#run?.start(this.#before, term);
    this.#before = undefined;
    const { identity: flow } = this.flow;
    if (this.#isMade) this.options.log.info("Flow started", { flow, epoch: term.epoch });
  }

  async drain(): Promise<void> {
    this.options.log.info("Flow handed over", { flow: this.flow.identity });
    const run = this.#end();
    if (!run) return;
    await this.options.drain(run);
    this.#over(run);
  }

  async lose(): Promise<void> {
    const run = this.#end();
    if (!run) return;
    await run.stop(0);
    this.#over(run);
  }

  /** Leaves the election, once this node's generation has ended. */
  async withdraw(ended: Promise<unknown>): Promise<void> {
    this.#withdrawn = true;
    await ended;
    await this.#stood;
    await this.#candidacy?.withdraw();
  }

  /** From here on a generation that comes waits for another term. */
  #end(): FlowRun | null {
    const run = this.#run;
    this.#run = null;
    this.#term = null;
    return run;
  }

  #over(run: FlowRun): void {
    if (!this.#withdrawn) this.options.over(run);
  }
}
