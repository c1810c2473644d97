import type { Clock } from "../core/clock.ts";
import type { Schedule, Scheduler } from "../flow/scheduler.ts";
import { nextInstant } from "./next.ts";
import { runDue } from "./run.ts";

/**
 * Timers stand still while a machine sleeps and know nothing of a wall clock that is set. Looking at it
 * once a minute, what fell due meanwhile starts within a minute.
 */
const LONGEST_WAIT = 60_000;

/** The scheduler of a process that lives on. */
export class TimerScheduler implements Scheduler {
  readonly #clock: Clock;

  constructor({ clock }: { clock: Clock }) {
    this.#clock = clock;
  }

  next(schedule: Schedule, after: number): number | null {
    return nextInstant(schedule, after);
  }

  at(time: number, run: () => void | Promise<void>): { cancel(): void } {
    const wait = (ms: number) => this.#clock.after(Math.min(ms, LONGEST_WAIT), look);
    const look = () => {
      const left = time - this.#clock.now();
      if (left > 0) timer = wait(left);
      else void runDue(run);
    };
    let timer = wait(Math.max(0, time - this.#clock.now()));
    return { cancel: () => timer.clear() };
  }
}
