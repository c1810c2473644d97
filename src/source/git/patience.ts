import type { Clock, Timer } from "../../core/clock.ts";
import { formatDuration } from "../../core/duration.ts";
import { FlowError } from "../../core/errors.ts";
import { hintOf, reasonOf } from "../../core/fetch_errors.ts";

export interface Patience {
  readonly clock: Clock;
  /** Milliseconds without a single byte after which an answer counts as lost. */
  readonly idle: number;
  /** Milliseconds for one request with its whole answer. */
  readonly total: number;
}

/**
 * Runs one exchange, request and answer, and names what goes wrong.
 *
 * @param label Whom we talk to, as it may appear in messages.
 * @param work Calls `alive` whenever something arrived; what it leaves open ends with its signal.
 * @throws {FlowError} `source.unavailable`, and what `work` throws; the reason of `signal`.
 */
export async function patiently<T>(
  { clock, idle, total }: Patience,
  label: string,
  signal: AbortSignal | undefined,
  work: (signal: AbortSignal, alive: () => void) => Promise<T>,
): Promise<T> {
  signal?.throwIfAborted();
  const abort = new AbortController();
  const stop = () => abort.abort();
  let late: string | undefined;
  const giveUp = (reason: string) => {
    late ??= reason;
    stop();
  };
  let heard = clock.monotonic();
  let timer: Timer;
  // Looks again when the time may have come, rather than starting a timer for each chunk.
  const watch = (ms: number) => {
    timer = clock.after(ms, () => {
      const left = heard + idle - clock.monotonic();
      if (left > 0) watch(left);
      else giveUp(`it was silent for ${formatDuration(idle)}`);
    });
  };
  watch(idle);
  const end = clock.after(total, () => giveUp(`it took longer than ${formatDuration(total)}`));
  signal?.addEventListener("abort", stop, { once: true });
  try {
    return await work(abort.signal, () => void (heard = clock.monotonic()));
  } catch (cause) {
    signal?.throwIfAborted();
    if (late !== undefined) throw unavailable(label, late, cause);
    throw cause instanceof FlowError ? cause : unavailable(label, reasonOf(cause), cause);
  } finally {
    timer!.clear();
    end.clear();
    signal?.removeEventListener("abort", stop);
    stop(); // ends a body that was not read to its end
  }
}

function unavailable(label: string, reason: string, cause: unknown): FlowError {
  return new FlowError("source.unavailable", `Cannot read from ${label}: ${reason}`, {
    hint: hintOf(reason),
    cause,
  });
}
