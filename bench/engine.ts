import { systemClock, turn } from "../src/core/clock.ts";
import { HandSource, startFlow, sync, waits } from "../src/engine/testing.ts";
import { derive, type FlowEvent, type JsonObject } from "../src/flow/event.ts";
import type { TaskEntry } from "../src/flow/flow.ts";
import type { Call, Emit, SyncRun } from "../src/flow/task.ts";
import { testEvent } from "../src/flow/testing.ts";
import type { Row } from "./row.ts";

/** Ours and raw take turns, so that what else the machine does meets both. The median counts. */
const ROUNDS = 7;
/** How long one measurement takes, milliseconds. */
const SLICE = 100;
/** Events between two looks at the clock. */
const STRIDE = 20_000;
/** The wanted rate of an async hop, events per second. */
const HOP_GOAL = 1_000_000;

/** Puts so many events through; resolves when all of them have ended. */
type Feed = (count: number) => void | Promise<void>;

const EVENT = testEvent({ id: 1, name: "a", on: true });

let seen = 0;
const end: Emit = () => void seen++;

/** A task as tasks are: it makes a new event that shares what did not change. */
const step = (subject: string): SyncRun => (event, emit) =>
  emit(derive(event, { data: { ...(event.data as JsonObject), by: subject }, subject }));
const steps = ["first", "second", "third"].map(step);

/** A sync chain and an async hop, beside what the platform does without an engine. */
export async function benchEngine(): Promise<Row[]> {
  const last = sync("end", end);
  return [
    await compare(
      "sync chain source → 3 tasks → end, acknowledged / fused calls",
      steps.map((run, index) => sync(`task${index}`, run)),
      fusedCalls(),
      { ratio: 0.3 },
    ),
    await compare(
      "async hop that answers at once / ring buffer that awaits when full or empty",
      [waits("hop", (event) => event), last],
      ringBuffer(false),
      { value: HOP_GOAL },
    ),
    await compare(
      "async hop that answers with a resolved promise / promise per put and take",
      [waits("hop", (event) => Promise.resolve(event)), last],
      ringBuffer(true),
      { value: HOP_GOAL },
    ),
  ];
}

async function compare(
  name: string,
  tasks: readonly TaskEntry[],
  rawFeed: Feed,
  goal: Row["goal"],
): Promise<Row> {
  const source = new HandSource();
  const { run } = await startFlow([source.task(), ...tasks], { clock: systemClock });
  let [acknowledged, wanted] = [0, 0];
  const settled = () => void acknowledged++;
  const feed: Feed = async (count) => {
    wanted += count;
    for (let n = 0; n < count; n++) {
      const pause = source.output.emit(EVENT, settled);
      if (pause) await pause;
    }
    while (acknowledged < wanted) await turn();
  };
  const rates: { ours: number[]; raw: number[] } = { ours: [], raw: [] };
  for (let round = 0; round < ROUNDS; round++) {
    rates.ours.push(await rate(feed));
    rates.raw.push(await rate(rawFeed));
  }
  await run.stop(0);
  // The first round is warm-up.
  const raw = median(rates.raw.slice(1));
  return { name, ours: median(rates.ours.slice(1)), raw, unit: "events/s", goal };
}

/** Events per second. */
async function rate(feed: Feed): Promise<number> {
  const start = performance.now();
  let count = 0;
  while (performance.now() - start < SLICE) {
    await feed(STRIDE);
    count += STRIDE;
  }
  return count / (performance.now() - start) * 1_000;
}

function median(figures: number[]): number {
  return figures.sort((a, b) => a - b)[Math.floor(figures.length / 2)]!;
}

function fusedCalls(): Feed {
  const call = {} as Call;
  const first = steps.reduceRight<Emit>((next, run) => (event) => run(event, next, call), end);
  return (count) => {
    for (let n = 0; n < count; n++) first(EVENT);
  };
}

/** From one async function to another, over a bounded queue. */
function ringBuffer(alwaysAwait: boolean): Feed {
  return async (count) => {
    const ring = new Ring();
    const produce = async () => {
      for (let n = 0; n < count; n++) {
        const full = ring.put(EVENT);
        if (full || alwaysAwait) await full;
      }
    };
    const consume = async () => {
      for (let n = 0; n < count; n++) {
        const next = ring.take();
        end(alwaysAwait || next instanceof Promise ? await next : next);
      }
    };
    await Promise.all([produce(), consume()]);
  };
}

const SIZE = 32;

class Ring {
  readonly #items: (FlowEvent | null)[] = Array(SIZE).fill(null);
  #head = 0;
  #tail = 0;
  #onItem: ((event: FlowEvent) => void) | null = null;
  #onRoom: (() => void) | null = null;

  put(event: FlowEvent): void | Promise<void> {
    if (this.#onItem) {
      const wake = this.#onItem;
      this.#onItem = null;
      return wake(event);
    }
    this.#items[this.#head++ % SIZE] = event;
    if (this.#head - this.#tail < SIZE) return;
    return new Promise((resolve) => this.#onRoom = resolve);
  }

  take(): FlowEvent | Promise<FlowEvent> {
    if (this.#tail === this.#head) return new Promise((resolve) => this.#onItem = resolve);
    const event = this.#items[this.#tail++ % SIZE]!;
    if (this.#onRoom && this.#tail === this.#head) {
      this.#onRoom();
      this.#onRoom = null;
    }
    return event;
  }
}
