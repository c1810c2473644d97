import { FlowError, type Position, toFlowError } from "../core/errors.ts";
import type { Clock } from "../core/clock.ts";
import type { Log } from "../core/log.ts";
import type { Random } from "../core/random.ts";
import type { FlowEvent } from "../flow/event.ts";
import type { RetryPolicy } from "../flow/schema.ts";
import type {
  AsyncRun,
  Call,
  Collector,
  CollectorOutput,
  Emit,
  FlushReason,
  HttpReply,
  SyncRun,
} from "../flow/task.ts";
import { CollectorNode } from "./collector.ts";
import { close, type Expansion, expansionOf } from "./expansion.ts";
import { type Copy, Delivery } from "./delivery.ts";
import type { Graph, Node } from "./graph.ts";
import { Pacer } from "./pacer.ts";
import { join, NOWHERE, type Port, respondTo, unique } from "./port.ts";
import { anyFull, roomIn, type Target } from "./room.ts";
import { Stage } from "./stage.ts";
import { isNotOurs, type Tenure } from "./tenure.ts";

/** A task made ready to run. */
export type Runner =
  | { readonly kind: "source" }
  | { readonly kind: "sync"; readonly run: SyncRun }
  | { readonly kind: "async"; readonly run: AsyncRun; readonly concurrency: number }
  | { readonly kind: "collect"; readonly make: (output: CollectorOutput) => Collector };

export interface PipelineOptions {
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  readonly retry: RetryPolicy;
  /** Of an elected flow: whether anything new may be started. */
  readonly tenure?: Tenure;
}

/**
 * One running copy of a flow's graph. Neighbouring sync tasks are linked into one plain call; async
 * tasks and buffers end a segment. While a segment runs, `copy` says whose event it is.
 */
export class Pipeline {
  copy: Copy;
  /** In place of a copy while no segment runs. */
  readonly #nobody: Copy = nobody();
  /** Events taken and failed, by node. */
  readonly counts: { events: number; failed: number }[];
  readonly stages: Stage[] = [];
  readonly collectors: CollectorNode[] = [];
  readonly pacer: Pacer;
  draining = false;
  #parked: Expansion[] | null = null;
  /** By index of the node, found when it fails: to find a place is to read the file again. */
  readonly #places: Position[] = [];
  /** By index of the node: its way in, its way out, and the way to its handlers. */
  readonly #ports: Port[] = [];
  readonly #outs: Port[] = [];
  readonly #handlers: Port[] = [];

  constructor(
    readonly graph: Graph,
    readonly runners: readonly Runner[],
    readonly options: PipelineOptions,
  ) {
    this.copy = this.#nobody;
    this.pacer = new Pacer(options.clock);
    this.counts = graph.nodes.map(() => ({ events: 0, failed: 0 }));
    // From the end, so that what a node hands on to is there already.
    for (const node of graph.nodes.toReversed()) {
      const { index } = node;
      this.#outs[index] = this.#out(node);
      this.#handlers[index] = join(node.handlers.map((one) => this.#ports[one.index]!));
      this.#ports[index] = this.#port(node);
    }
  }

  /** The way out of a node: to its children, or to its end. */
  out(node: Node): Port {
    return this.#outs[node.index]!;
  }

  /**
   * Runs one event through a segment. Answers with a promise while something behind has no room; the
   * caller brings nothing new until then. It may let go of the delivery at once: what waits holds it.
   */
  enter(port: Port, event: FlowEvent, copy: Copy): void | Promise<void> {
    const outer = this.copy;
    const outerExpansion = this.#parked;
    this.copy = copy;
    this.#parked = null;
    port.emit(event);
    const parked: Expansion[] | null = this.#parked;
    this.copy = outer;
    this.#parked = outerExpansion;
    if (parked !== null) return this.#unpark(parked, port.targets, copy);
    if (port.targets.length > 0) return roomIn(port.targets, copy.delivery);
  }

  /** A failed event goes to its handlers, or its delivery fails. From inside a segment. */
  fail(node: Node, event: FlowEvent, cause: unknown, attempts: number): void {
    this.counts[node.index]!.failed++;
    const { delivery } = this.copy;
    if (delivery.expired) return;
    const { task } = node;
    const found = toFlowError(cause);
    const error = found.position ? found : found.at(this.#places[node.index] ??= task.locate([]));
    // A handler that succeeds here would make done what another node has to do again.
    if (node.handlers.length === 0 || isNotOurs(error)) {
      delivery.fail(error);
      return;
    }
    delivery.reply?.handled(error);
    this.#handlers[node.index]!.emit({
      ...event,
      error: {
        message: error.message,
        code: error.code,
        task: task.name,
        attempts,
        time: new Date(this.options.clock.now()).toISOString(),
      },
    });
  }

  /** The same from outside a segment. */
  failFrom(
    node: Node,
    event: FlowEvent,
    cause: unknown,
    attempts: number,
    copy: Copy,
  ): void | Promise<void> {
    return this.enter(this.failing(node, cause, attempts), event, copy);
  }

  /** The way of an event that fails in this node. */
  failing(node: Node, cause: unknown, attempts = 1): Port {
    return {
      emit: (failed) => this.fail(node, failed, cause, attempts),
      targets: this.#handlers[node.index]!.targets,
    };
  }

  /** Takes the copies of an expired delivery out of queues, retries and buffers. */
  purge(delivery: Delivery): void {
    for (const stage of this.stages) stage.purge(delivery);
    for (const collector of this.collectors) collector.purge(delivery);
  }

  flush(reason: FlushReason): void {
    for (const collector of this.collectors) collector.flush(reason);
  }

  /** All of a source's delivery that is open waits in buffers. */
  waiting(delivery: Delivery): void {
    if (this.draining) queueMicrotask(() => this.flush("shutdown"));
    else for (const collector of this.collectors) collector.completed(delivery);
  }

  /** A defect of the engine or of a task's callback: the accounts go on, and the log shows it. */
  broken(cause: unknown): void {
    const { code, message } = toFlowError(cause, "engine.callback_failed");
    const stack = cause instanceof Error ? cause.stack : undefined;
    this.options.log.error("Internal error", { code, error: message, stack });
  }

  /** A sync task emitted when its call had ended: nobody waits for that event, but somebody lost it. */
  #late(): void {
    this.broken(
      new FlowError("task.late_emit", "A sync task emitted an event after its call had ended", {
        hint: 'say mode: "async" in its definition, and return the event in place of emitting it',
      }),
    );
  }

  #port(node: Node): Port {
    const runner = this.runners[node.index]!;
    const count = this.counts[node.index]!;
    if (runner.kind === "sync") {
      const out = this.out(node);
      return {
        emit: this.#syncStep(node, runner.run, out, count),
        targets: unique([...out.targets, ...this.#handlers[node.index]!.targets]),
      };
    }
    if (runner.kind === "async") {
      const stage = new Stage(this, node, runner.run, runner.concurrency);
      this.stages.push(stage);
      return {
        emit: (event) => {
          if (this.copy === this.#nobody) return this.#late();
          count.events++;
          stage.push(event, this.copy);
        },
        targets: [stage],
      };
    }
    if (runner.kind === "collect") {
      const collector = new CollectorNode(this, node, runner.make);
      this.collectors.push(collector);
      return {
        emit: (event) => {
          if (this.copy === this.#nobody) return this.#late();
          count.events++;
          collector.push(event, this.copy);
        },
        // An event that it refuses goes to the handlers at once.
        targets: unique([collector, ...this.#handlers[node.index]!.targets]),
      };
    }
    return NOWHERE;
  }

  #out(node: Node): Port {
    if (node.children.length > 0) return join(node.children.map((one) => this.#ports[one.index]!));
    return {
      emit: (event) => {
        if (this.copy === this.#nobody) this.#late();
        else this.copy.delivery.reply?.leaf(node, this.copy.path, event);
      },
      targets: [],
    };
  }

  #syncStep(node: Node, run: SyncRun, out: Port, count: { events: number }): Emit {
    const call = new SyncCall(this, node, out);
    const step = out.targets.length === 0 ? run : this.#inTurn(run, call);
    const next = out.emit;
    return (event) => {
      const { copy } = this;
      if (copy === this.#nobody) return this.#late();
      count.events++;
      const outer = copy.event;
      copy.event = event;
      try {
        const returned: unknown = step(event, next, call);
        if (returned instanceof Promise) refuse(returned, node);
      } catch (cause) {
        this.fail(node, event, cause, 1);
      }
      copy.event = outer;
    };
  }

  /** A step before something that may be full: what it emits after what had to wait waits too. */
  #inTurn(run: SyncRun, call: SyncCall): SyncRun {
    return (event, next) => {
      const before = this.#parked?.length ?? 0;
      // What it gives in place of an end is the caller's to refuse.
      return run(event, (one) => {
        if ((this.#parked?.length ?? 0) === before) next(one);
        else this.#continue(expansionOf(call, this.copy, [one]));
      }, call);
    };
  }

  /** Emits the events one by one; parks the rest when something behind is full. */
  expand(call: SyncCall, events: Iterable<FlowEvent>): void {
    this.copy.delivery.reply?.expanded(call.node);
    this.#continue(expansionOf(call, this.copy, events));
  }

  #continue(expansion: Expansion): void {
    const { iterator, copy, next, targets } = expansion;
    const { delivery } = copy;
    const ordered = delivery.reply !== null;
    const outer = this.copy;
    for (;;) {
      if (delivery.expired) {
        close(iterator);
        break;
      }
      if (
        this.#parked !== null || anyFull(targets, delivery) || this.pacer.pause() !== undefined
      ) {
        (this.#parked ??= []).push(expansion);
        if (!expansion.held) delivery.hold();
        expansion.held = true;
        this.copy = outer;
        return;
      }
      this.copy = copy;
      let step: IteratorResult<FlowEvent>;
      try {
        step = iterator.next();
      } catch (cause) {
        this.fail(expansion.node, expansion.event, cause, 1);
        break;
      }
      if (step.done) break;
      if (ordered) this.copy = { delivery, path: [...copy.path, expansion.index], event: null };
      expansion.index++;
      next(step.value);
    }
    this.copy = outer;
    if (expansion.held) delivery.settle();
  }

  async #unpark(
    parked: Expansion[],
    targets: readonly Target[],
    { delivery }: Copy,
  ): Promise<void> {
    while (parked.length > 0) {
      await roomIn(parked[0]!.targets, delivery);
      await this.pacer.pause();
      // What this one parks now comes before the rest: inner expansions end before outer ones go on.
      this.#parked = null;
      this.#continue(parked.shift()!);
      if (this.#parked !== null) parked.unshift(...this.#parked as Expansion[]);
      this.#parked = null;
    }
    await roomIn(targets, delivery);
  }
}

/** What a sync step sees of the engine. */
class SyncCall implements Call {
  readonly attempt = 1;
  constructor(readonly pipeline: Pipeline, readonly node: Node, readonly out: Port) {}

  expand(events: Iterable<FlowEvent>): void {
    this.pipeline.expand(this, events);
  }

  respond(reply: HttpReply): boolean {
    return respondTo(this.pipeline.copy.delivery, reply);
  }

  get signal(): AbortSignal {
    return this.pipeline.copy.delivery.signal;
  }
}

/** A task that says it never waits and does: its events would be acknowledged before its work is done. */
function refuse(returned: Promise<unknown>, { task }: Node): never {
  returned.catch(() => {}); // What it comes to is nobody's any more.
  throw new FlowError(
    "task.sync_waits",
    `Task "${task.name}" is sync, but gave a promise in place of an end`,
    { hint: 'say mode: "async" in its definition, and return the event in place of emitting it' },
  );
}

/** Whose events are emitted outside of any call: nobody's. They end at once. */
function nobody(): Delivery {
  const delivery = new Delivery({ ended() {}, waiting() {}, broken() {} });
  delivery.expired = true;
  return delivery;
}
