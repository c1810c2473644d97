/** A timer that has not fired yet can be cleared; clearing twice does nothing. */
export interface Timer {
  clear(): void;
}

/** Time as the code sees it. Nothing outside this file asks the platform. */
export interface Clock {
  /** Wall clock, milliseconds since 1970. */
  now(): number;
  /** Milliseconds on a clock that never goes back; its origin means nothing. */
  monotonic(): number;
  /** Calls `run` once after `ms`; delays beyond 24.8 days are waited out in steps. */
  after(ms: number, run: () => void): Timer;
}

/** Waits `ms`, or less when `signal` fires; never rejects. */
export function sleep(clock: Clock, ms: number, signal?: AbortSignal): Promise<void> {
  if (signal?.aborted) return Promise.resolve();
  return new Promise((resolve) => {
    const done = () => {
      timer.clear();
      signal?.removeEventListener("abort", done);
      resolve();
    };
    const timer = clock.after(ms, done);
    signal?.addEventListener("abort", done, { once: true });
  });
}

/** The longest delay `setTimeout` takes; a longer one would fire at once. */
const LONGEST_DELAY = 2 ** 31 - 1;

export const systemClock: Clock = {
  now: () => Date.now(),
  monotonic: () => performance.now(),
  after(ms, run) {
    let id: ReturnType<typeof setTimeout>;
    const wait = (left: number) => {
      const step = Math.min(left, LONGEST_DELAY);
      id = setTimeout(() => left > step ? wait(left - step) : run(), Math.max(0, step));
    };
    wait(ms);
    return { clear: () => clearTimeout(id) };
  },
};

/** Gives the event loop a turn. `setTimeout(0)` would take 2 ms where this takes microseconds. */
export function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

interface Waiting {
  at: number;
  order: number;
  run: () => void;
}

/** A clock for tests that moves only when told to. */
export class TestClock implements Clock {
  #now: number;
  #order = 0;
  #waiting: Waiting[] = [];

  constructor(start: number | string = "2030-01-01T00:00:00Z") {
    this.#now = typeof start === "string" ? Date.parse(start) : start;
  }

  now(): number {
    return this.#now;
  }

  monotonic(): number {
    return this.#now;
  }

  /** Timers that have not fired yet. */
  get pending(): number {
    return this.#waiting.length;
  }

  after(ms: number, run: () => void): Timer {
    const entry = { at: this.#now + Math.max(0, ms), order: this.#order++, run };
    this.#waiting.push(entry);
    return { clear: () => void (this.#waiting = this.#waiting.filter((one) => one !== entry)) };
  }

  /** Moves on by `ms`, firing what falls due in order and letting promises settle in between. */
  async advance(ms: number): Promise<void> {
    const end = this.#now + ms;
    await settle();
    for (;;) {
      const due = this.#waiting.filter((one) => one.at <= end)
        .sort((a, b) => a.at - b.at || a.order - b.order)[0];
      if (!due) break;
      this.#waiting = this.#waiting.filter((one) => one !== due);
      this.#now = Math.max(this.#now, due.at);
      due.run();
      await settle();
    }
    this.#now = end;
    await settle();
  }
}

/** Lets everything run that is ready to run: promise chains and a few turns of the event loop. */
export async function settle(turns = 4): Promise<void> {
  for (let i = 0; i < turns; i++) await turn();
}
