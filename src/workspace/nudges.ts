import { type Clock, sleep } from "../core/clock.ts";

/** Changes this close count as one, milliseconds. */
const QUIET = 100;
/** Where changes never stop, they are told this often. */
const LONGEST = 1_000;

/**
 * Several changes as one nudge, once they have stopped for 100 ms and at most a second after the first.
 * The first nudge comes at once, for what changed before anybody listened.
 */
export async function* coalesced(
  changes: AsyncIterable<unknown>,
  { clock, signal }: { clock: Clock; signal: AbortSignal },
): AsyncGenerator<void> {
  const iterator = changes[Symbol.asyncIterator]();
  let next = ask(iterator);
  try {
    yield;
    while (!(await next).done) {
      const end = clock.monotonic() + LONGEST;
      next = ask(iterator);
      while (await comesSoon(next, Math.min(QUIET, end - clock.monotonic()), { clock, signal })) {
        if ((await next).done) break;
        next = ask(iterator);
      }
      if (signal.aborted) return;
      yield;
    }
  } finally {
    await iterator.return?.();
  }
}

/** Its failure is heard by whoever waits for it next, and must not count as unheard until then. */
function ask(iterator: AsyncIterator<unknown>): Promise<IteratorResult<unknown>> {
  const next = iterator.next();
  next.catch(() => {});
  return next;
}

async function comesSoon(
  next: Promise<unknown>,
  ms: number,
  { clock, signal }: { clock: Clock; signal: AbortSignal },
): Promise<boolean> {
  if (ms <= 0) return false;
  const over = new AbortController();
  const quiet = sleep(clock, ms, AbortSignal.any([signal, over.signal])).then(() => false);
  try {
    return await Promise.race([next.then(() => true), quiet]);
  } finally {
    over.abort();
  }
}
