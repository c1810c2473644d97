import type { Clock } from "../core/clock.ts";
import { InternalError } from "../core/errors.ts";
import type { Schedule, Scheduler } from "../flow/scheduler.ts";
import { nextInstant } from "./next.ts";
import { runDue } from "./run.ts";

/** The form of `Deno.cron` that is used here. Its promise settles once `signal` fired. */
export type PlatformCron = (
  name: string,
  schedule: string,
  options: { signal: AbortSignal },
  handler: () => Promise<void>,
) => Promise<void>;

export interface PlatformOptions {
  readonly clock: Clock;
  /** `Deno.cron` when left out. */
  readonly cron?: PlatformCron;
  /** Milliseconds of a tick in which something may be started; 50,000 when left out. */
  readonly budget?: number;
}

interface Due {
  readonly time: number;
  readonly run: () => void | Promise<void>;
}

/**
 * The scheduler of a platform that owns the clock and may end the process between ticks, such as Deno
 * Deploy. One static cron tick per minute starts what is due, waits inside the tick for what is due soon,
 * and keeps the process alive until all of it has ended.
 */
export class PlatformScheduler implements Scheduler {
  readonly #clock: Clock;
  readonly #cron: PlatformCron;
  readonly #budget: number;
  readonly #waiting = new Set<Due>();
  readonly #stopped = new AbortController();
  readonly #ticks = new Set<Promise<void>>();
  /** Wakes the ticks that wait for something to change. */
  readonly #wake = new Set<() => void>();
  #registered: Promise<void> | undefined;

  constructor({ clock, cron = Deno.cron, budget = 50_000 }: PlatformOptions) {
    this.#clock = clock;
    this.#cron = cron;
    this.#budget = budget;
  }

  next(schedule: Schedule, after: number): number | null {
    return nextInstant(schedule, after);
  }

  at(time: number, run: () => void | Promise<void>): { cancel(): void } {
    const due: Due = { time, run };
    if (!this.#stopped.signal.aborted) this.#waiting.add(due);
    this.#change();
    return { cancel: () => void this.#waiting.delete(due) };
  }

  /** Registers the tick, once; the platform wants this while the program's first module is evaluated. */
  start(): void {
    if (this.#stopped.signal.aborted) throw new InternalError("scheduler.started_after_stop");
    // Day-of-week 0 and time zones are unknown to Deno.cron, so it gets the plainest pattern there is.
    this.#registered ??= this.#cron(
      "flowgen tick",
      "* * * * *",
      { signal: this.#stopped.signal },
      () => this.#tick(),
    );
  }

  /**
   * Starts nothing any more and waits for what runs. Only after that may the same name be registered
   * again: in the turn of its abort it would fire twice.
   */
  async stop(): Promise<void> {
    this.#stopped.abort();
    this.#waiting.clear();
    this.#change();
    await this.#registered;
    await Promise.all(this.#ticks);
  }

  async #tick(): Promise<void> {
    const tick = this.#runTick();
    this.#ticks.add(tick);
    await tick;
    this.#ticks.delete(tick);
  }

  async #runTick(): Promise<void> {
    const end = this.#clock.monotonic() + this.#budget;
    const running = new Set<Promise<void>>();
    while (true) {
      const left = end - this.#clock.monotonic();
      if (left > 0) this.#startDue(running);
      // What runs may ask for more, such as the next tick of an interval, until the budget is spent.
      const wait = left > 0 ? this.#untilNext() : Infinity;
      const soon = wait < left;
      if (running.size === 0 && !soon) return;
      await this.#changed(soon ? wait : undefined);
    }
  }

  #startDue(running: Set<Promise<void>>): void {
    const now = this.#clock.now();
    const due = [...this.#waiting].filter(({ time }) => time <= now);
    for (const one of due.sort((a, b) => a.time - b.time)) {
      // An earlier one may have cancelled it.
      if (!this.#waiting.delete(one)) continue;
      const run = runDue(one.run).then(() => {
        running.delete(run);
        this.#change();
      });
      running.add(run);
    }
  }

  #untilNext(): number {
    let first = Infinity;
    for (const { time } of this.#waiting) first = Math.min(first, time);
    return Math.max(0, first - this.#clock.now());
  }

  /** Waits until something was added or ended, or `ms` have passed. */
  #changed(ms: number | undefined): Promise<void> {
    return new Promise((resolve) => {
      const wake = () => {
        timer?.clear();
        this.#wake.delete(wake);
        resolve();
      };
      const timer = ms === undefined ? undefined : this.#clock.after(ms, wake);
      this.#wake.add(wake);
    });
  }

  #change(): void {
    for (const wake of [...this.#wake]) wake();
  }
}
