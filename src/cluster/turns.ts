import { InternalError } from "../core/errors.ts";
import type { Log } from "../core/log.ts";
import type { Candidate, Term } from "../flow/cluster.ts";

/** One turn at running a flow, over when its node may not run or when it was ended. */
class Turn implements Term {
  readonly #ended = new AbortController();
  #over = false;

  constructor(readonly epoch: number, readonly node: { mayRun(): boolean }) {}

  get signal(): AbortSignal {
    return this.#ended.signal;
  }

  mayRun(): boolean {
    return !this.#over && this.node.mayRun();
  }

  end(): void {
    this.#over = true;
    this.#ended.abort();
  }
}

/** Tells candidates about their turns. What one of them throws is logged and stops nobody else. */
export class Turns {
  readonly #candidates = new Map<string, Candidate>();
  readonly #turns = new Map<string, Turn>();
  readonly #pending = new Set<Promise<void>>();

  /** @param settled Hears that a drain or a loss has ended. */
  constructor(
    readonly node: { mayRun(): boolean },
    readonly log: Log,
    readonly settled: (flow: string) => void,
  ) {}

  add(flow: string, candidate: Candidate): void {
    if (this.#candidates.has(flow)) {
      throw new InternalError("cluster.stands_already", `Cannot stand twice for "${flow}"`);
    }
    this.#candidates.set(flow, candidate);
  }

  /** Whether the candidate was there; its turn, should it have one, is over. */
  remove(flow: string, candidate: Candidate): boolean {
    if (this.#candidates.get(flow) !== candidate) return false;
    this.#candidates.delete(flow);
    this.expire(flow);
    return true;
  }

  start(flow: string, epoch: number): void {
    const turn = new Turn(epoch, this.node);
    this.#turns.set(flow, turn);
    try {
      this.#candidates.get(flow)?.start(turn);
    } catch (error) {
      this.log.error("An elected flow could not be started", { flow, error });
    }
  }

  /** The turn goes on until the last delivery has ended. */
  drain(flow: string): void {
    this.#end(flow, "drain", () => this.expire(flow));
  }

  lose(flow: string): void {
    this.expire(flow);
    this.#end(flow, "lose", () => {});
  }

  expire(flow: string): void {
    this.#turns.get(flow)?.end();
    this.#turns.delete(flow);
  }

  /** All drains and losses under way. */
  async ended(): Promise<void> {
    await Promise.all(this.#pending);
  }

  #end(flow: string, how: "drain" | "lose", then: () => void): void {
    const candidate = this.#candidates.get(flow);
    const ending = (async () => {
      try {
        // In a turn of its own: a candidate may have come here by asking whether it may run.
        await null;
        await candidate?.[how]();
      } catch (error) {
        this.log.error("An elected flow did not end well", { flow, how, error });
      }
      then();
      this.settled(flow);
    })();
    this.#pending.add(ending);
    ending.finally(() => this.#pending.delete(ending));
  }
}
