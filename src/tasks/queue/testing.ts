import * as v from "valibot";
import { settle, TestClock } from "../../core/clock.ts";
import { type Log, silentLog } from "../../core/log.ts";
import { FlowRun } from "../../engine/flow_run.ts";
import { DEFAULT_RETRY } from "../../engine/retry.ts";
import { entry, flowOf, waits } from "../../engine/testing.ts";
import type { TaskEntry } from "../../flow/flow.ts";
import type { FlowEvent } from "../../flow/event.ts";
import type { Queue, Queues } from "../../flow/queue.ts";
import type { TaskDefinition } from "../../flow/task.ts";
import type { Store } from "../../flow/store.ts";
import { testServices } from "../../flow/testing.ts";
import { MemoryStore } from "../../store/memory.ts";
import { StoreQueues } from "../../store/queue/store_queue.ts";
import { Taker } from "../../store/queue/testing.ts";

/** A task of these definitions as a flow file would have it. */
export function task<D extends TaskDefinition>(
  definition: D,
  config: unknown,
  more: Partial<TaskEntry> = {},
): TaskEntry {
  const given = { config: v.parse(definition.config, config), ...more };
  return entry(more.name ?? definition.type, definition, given);
}

/** The last task of a flow, whose events end as the test says. */
export class Target {
  /** All that arrived, in order. */
  readonly events: FlowEvent[] = [];
  /** Set to let events fail; asked when an event arrives. */
  fails: ((event: FlowEvent) => Error | null) | null = null;
  /** Set to let events wait. */
  gate: Promise<void> | null = null;

  task(): TaskEntry {
    return waits("target", async (event) => {
      this.events.push(event);
      await this.gate;
      const failure = this.fails?.(event);
      if (failure) throw failure;
      return null;
    }, { concurrency: 100, retry: { max_attempts: 1, initial_backoff: 1, max_backoff: 1 } });
  }

  get data(): unknown[] {
    return this.events.map(({ data }) => data);
  }

  get attempts(): unknown[] {
    return this.events.map(({ meta }) => (meta.queue as { attempts: number }).attempts);
  }
}

/** Flows and queues on one clock. */
export class QueueTestWorld implements AsyncDisposable {
  readonly clock = new TestClock();
  store: Store = new MemoryStore({ clock: this.clock });
  queues: Queues = this.#opened();
  readonly #runs: FlowRun[] = [];

  async start(tasks: readonly TaskEntry[], { log = silentLog }: { log?: Log } = {}) {
    const run = await FlowRun.prepare(flowOf(tasks), {
      services: testServices({
        clock: this.clock,
        queues: this.queues,
        runtimeStore: this.store,
      }),
      log,
      credentials: (path) => path,
      retry: DEFAULT_RETRY,
    });
    this.#runs.push(run);
    run.start();
    await settle(20);
    return run;
  }

  /** Goes on as a new process does after the one before was killed; its flows hear of nothing. */
  restart(): void {
    this.queues = this.#opened();
  }

  /** Whether all was done at once. */
  async stop(run: FlowRun): Promise<boolean> {
    const stopping = run.stop(0);
    await this.clock.advance(0);
    return await stopping;
  }

  #opened(): Queues {
    return new StoreQueues({ store: this.store, clock: this.clock });
  }

  queue(name: string): Promise<Queue> {
    return this.queues.open(name);
  }

  /** Takes what is in a queue now, as data and error, and gives it back. */
  async contents(name: string): Promise<{ data: unknown; error: FlowEvent["error"] }[]> {
    const queue = await this.queue(name);
    await using taker = new Taker(queue);
    const { events } = await queue.size();
    const claims = await taker.next(events);
    for (const claim of claims) await claim.nak(0);
    return claims.map(({ event: { data, error } }) => ({ data, error }));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const run of this.#runs) await this.stop(run);
    await this.queues[Symbol.asyncDispose]();
  }
}
