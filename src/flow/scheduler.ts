/** When something is due: a fixed distance, or a cron expression in a time zone. */
export type Schedule =
  | { readonly interval: number }
  | { readonly cron: string; readonly timezone: string };

/**
 * Decides when ticks are due and wakes whoever waits for one. Two drivers: timers for processes that
 * live on, and one platform cron tick for platforms that own the clock.
 */
export interface Scheduler {
  /**
   * The first instant after `after` (both milliseconds since 1970), or `null` when there is none.
   * For an interval that is `after + interval`.
   *
   * @throws {FlowError} `config.cron_invalid`, `config.timezone_invalid`
   */
  next(schedule: Schedule, after: number): number | null;
  /**
   * Calls `run` once at `time` or as soon after as the platform allows. A driver whose platform ends
   * the process between ticks keeps it alive until the promise settles.
   */
  at(time: number, run: () => void | Promise<void>): { cancel(): void };
}
