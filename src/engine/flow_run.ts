import { sleep } from "../core/clock.ts";
import { type FlowError, toFlowError } from "../core/errors.ts";
import type { Term } from "../flow/cluster.ts";
import { fenced } from "../flow/fenced.ts";
import type { Flow } from "../flow/flow.ts";
import { unstamped } from "../flow/unstamped.ts";
import type { RetryPolicy } from "../flow/schema.ts";
import type { Store } from "../flow/store.ts";
import type { SourceRun } from "../flow/task.ts";
import { FailureLog } from "./failure_log.ts";
import { buildGraph, type Graph, isRequestSource, type Node } from "./graph.ts";
import { Pipeline } from "./pipeline.ts";
import { prepare, type Prepared, type TaskEnvironment } from "./prepare.ts";
import { backoff } from "./retry.ts";
import { Intake } from "./source.ts";
import { Tenure } from "./tenure.ts";

/** A source that ran this long without trouble is well again. Milliseconds. */
const WELL_AFTER = 10_000;

/** What a source waits for may come back at any time, whatever its tasks' retries are. Milliseconds. */
const LONGEST_PAUSE = 30_000;

export interface EngineOptions extends TaskEnvironment {
  /** For tasks without `retry` of their own. */
  readonly retry: RetryPolicy;
}

export interface TaskCount {
  readonly task: string;
  readonly type: string;
  readonly events: number;
  readonly failed: number;
}

/** How a running flow is. `since` is milliseconds since 1970. */
export interface FlowHealth {
  readonly state: "running" | "degraded" | "stopped";
  readonly since: number;
  readonly error?: FlowError;
  /** Deliveries under way. */
  readonly open: number;
  readonly tasks: readonly TaskCount[];
}

/** One generation of one flow: prepared, then started, then stopped. */
export class FlowRun {
  readonly #pipeline: Pipeline;
  readonly #stop = new AbortController();
  readonly #intakes = new Map<Node, Intake>();
  readonly #failureLogs: FailureLog[] = [];
  readonly #troubled = new Map<Node, FlowError>();
  #loops: Promise<void>[] = [];
  #lastError: FlowError | undefined;
  #state: FlowHealth["state"] = "running";
  #since: number;

  private constructor(
    readonly flow: Flow,
    readonly graph: Graph,
    readonly prepared: Prepared,
    readonly options: EngineOptions,
    readonly tenure: Tenure | undefined,
  ) {
    const { clock, random } = options.services;
    const log = options.log.with({ flow: flow.identity });
    this.#since = clock.now();
    this.#pipeline = new Pipeline(graph, prepared.runners, {
      clock,
      random,
      log,
      retry: options.retry,
      tenure,
    });
    for (const node of graph.sources) {
      const failures = new FailureLog(log.with({ source: node.task.name }), clock);
      this.#failureLogs.push(failures);
      const intake = new Intake(this.#pipeline, node, this.#stop.signal, (cause, meta) => {
        this.#lastError = toFlowError(cause);
        failures.add(this.#lastError, meta);
      }, (trouble) => this.#inTrouble(node, trouble));
      this.#intakes.set(node, intake);
    }
  }

  /**
   * Checks the graph and makes the tasks. Nothing outside changes before `start`.
   *
   * @param signal Gives up waiting; what was made is closed, and what is still being made when it ends.
   * @throws {FlowErrors | FlowError} `task.prepare_timeout` where `signal` timed out; of another
   *   signal, its reason.
   */
  static async prepare(flow: Flow, options: EngineOptions, signal?: AbortSignal): Promise<FlowRun> {
    const graph = buildGraph(flow);
    const tenure = flow.requireLeaderElection ? new Tenure() : undefined;
    // Alone there is no late write; an epoch by a clock that was set back would refuse our own.
    const runtimeStore = tenure && !options.services.cluster.alone
      ? fencedStore(flow, options, tenure)
      : plainStore(options.services.runtimeStore);
    const services = { ...options.services, runtimeStore };
    const prepared = await prepare(flow, graph, { ...options, services, tenure }, signal);
    try {
      return new FlowRun(flow, graph, prepared, options, tenure);
    } catch (cause) {
      await prepared.close();
      throw cause;
    }
  }

  /**
   * Opens the sources. Those that take one event at a time wait for `before`, the old generation; not
   * those of requests, which would find nobody meanwhile.
   *
   * @param term Of an elected flow, which starts nothing without.
   */
  start(before?: Promise<void>, term?: Term): void {
    if (this.tenure && term) this.tenure.term = term;
    this.#since = this.options.services.clock.now();
    this.#loops = [...this.prepared.sources].map(async ([node, source]) => {
      const intake = this.#intakes.get(node)!;
      if (before && intake.window === 1 && !isRequestSource(node)) await before;
      await this.#supervise(node, source, intake);
    });
  }

  /**
   * Ends intake, lets what is under way finish and closes the tasks. What is not done after `deadline`
   * milliseconds fails. Resolves to whether everything was finished in time.
   */
  async stop(deadline: number): Promise<boolean> {
    this.#stop.abort();
    this.#pipeline.draining = true;
    this.#pipeline.flush("shutdown");
    const intakes = [...this.#intakes.values()];
    const ended = Promise.all(this.#loops)
      .then(() => Promise.all(intakes.map((intake) => intake.drained())));
    const over = new AbortController();
    const inTime = await Promise.race([
      ended.then(() => true),
      sleep(this.options.services.clock, deadline, over.signal).then(() => false),
    ]);
    over.abort();
    for (const intake of intakes) intake.end();
    for (const failures of this.#failureLogs) failures.flush();
    await this.prepared.close();
    this.#setState("stopped");
    return inTime;
  }

  /** Lets go of a generation that was never started. */
  async discard(): Promise<void> {
    await this.prepared.close();
  }

  health(): FlowHealth {
    return {
      state: this.#state,
      since: this.#since,
      error: [...this.#troubled.values()][0] ?? this.#lastError,
      open: [...this.#intakes.values()].reduce((sum, intake) => sum + intake.open, 0),
      tasks: this.graph.nodes.map(({ task, index }) => ({
        task: task.name,
        type: task.type,
        ...this.#pipeline.counts[index]!,
      })),
    };
  }

  /** Runs a source, and again after a pause when it breaks. */
  async #supervise(node: Node, source: SourceRun, intake: Intake): Promise<void> {
    const { signal } = this.#stop;
    const { services, log } = this.options;
    const policy = node.task.retry ?? this.options.retry;
    for (let attempt = 1; !signal.aborted; attempt++) {
      const before = this.#troubled.get(node);
      const well = services.clock.after(WELL_AFTER, () => {
        attempt = 1;
        // What the source itself has said since is not for us to take back.
        if (this.#troubled.get(node) === before) this.#recovered(node);
      });
      try {
        await source.run(intake);
        this.#recovered(node);
        return;
      } catch (cause) {
        if (signal.aborted) return;
        const error = toFlowError(cause, "task.source_failed").at(node.task.locate([]));
        const delay = Math.min(backoff(policy, attempt, services.random), LONGEST_PAUSE);
        this.#troubled.set(node, error);
        this.#setState("degraded");
        log.error("A source broke and is started again", {
          flow: this.flow.identity,
          task: node.task.name,
          code: error.code,
          error: error.message,
          delay: Math.round(delay),
        });
        await sleep(services.clock, delay, signal);
      } finally {
        well.clear();
      }
    }
  }

  /** A source that goes on by itself says how it is. */
  #inTrouble(node: Node, cause: FlowError | null): void {
    if (cause === null) return this.#recovered(node);
    const error = cause.at(node.task.locate([]));
    const { code, message } = error;
    if (this.#troubled.get(node)?.message !== message) {
      this.options.log.error("A source is in trouble and goes on trying", {
        flow: this.flow.identity,
        task: node.task.name,
        code,
        error: message,
      });
    }
    this.#troubled.set(node, error);
    if (this.#state !== "stopped") this.#setState("degraded");
  }

  #recovered(node: Node): void {
    if (this.#troubled.delete(node) && this.#troubled.size === 0) this.#setState("running");
  }

  #setState(state: FlowHealth["state"]): void {
    if (state === this.#state) return;
    this.#state = state;
    this.#since = this.options.services.clock.now();
  }
}

/** One view for all flows of a store: thousands of them shall not have one each. */
function plainStore(store: Store): Store {
  const view = plainStores.get(store) ?? unstamped(store);
  plainStores.set(store, view);
  return view;
}

const plainStores = new WeakMap<Store, Store>();

/** Keys of the flow's own are safe from those who own it no longer; others are as they are. */
function fencedStore(
  { identity }: Flow,
  { services: { runtimeStore, clock } }: EngineOptions,
  tenure: Tenure,
): Store {
  return fenced(runtimeStore, () => tenure.term, clock, ["flow", identity]);
}
