import { FlowError, FlowErrors, toFlowError } from "../core/errors.ts";
import { type EngineOptions, FlowRun } from "../engine/flow_run.ts";
import type { Flow } from "../flow/flow.ts";

/** After this many milliseconds a preparation is given up, and tried again later. */
const DEADLINE = 60_000;

/** A version of a flow that is being made ready, and what became of it. */
export class Preparation {
  readonly digest: string;
  /** Never rejects; then there is a `run` or an `error`. */
  readonly ended: Promise<void>;
  run: FlowRun | null = null;
  error: FlowErrors | FlowError | null = null;
  readonly #abort = new AbortController();

  constructor(flow: Flow, options: EngineOptions) {
    this.digest = flow.digest;
    const { clock } = options.services;
    const timer = clock.after(DEADLINE, () => this.#abort.abort(tooSlow()));
    this.ended = this.#prepare(flow, options).finally(() => timer.clear());
  }

  /** Nobody wants it any more: lets go of what was made. */
  async abandon(): Promise<void> {
    this.#abort.abort(new FlowError("delivery.stopped", "The flow is not wanted any more"));
    await this.ended;
    await this.run?.discard();
  }

  async #prepare(flow: Flow, options: EngineOptions): Promise<void> {
    try {
      this.run = await FlowRun.prepare(flow, options, this.#abort.signal);
    } catch (cause) {
      this.error = cause instanceof FlowErrors ? cause : toFlowError(cause);
    }
  }
}

function tooSlow(): FlowError {
  return new FlowError("task.prepare_timeout", "A task of the flow took too long to get ready", {
    hint: "see what it connects to; it is tried again",
  });
}
