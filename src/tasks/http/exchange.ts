import type { Clock } from "../../core/clock.ts";
import { formatDuration } from "../../core/duration.ts";
import { FlowError, toFlowError } from "../../core/errors.ts";
import { reasonOf } from "../../core/fetch_errors.ts";

export interface ExchangeOptions {
  readonly clock: Clock;
  /** Milliseconds until the whole answer must be there; `null` waits on. */
  readonly timeout: number | null;
  /** The delivery's own signal. */
  readonly signal: AbortSignal;
  /** Method and address as they may appear in messages. */
  readonly label: string;
}

/**
 * Runs one exchange, request and answer, under a time limit, and names what goes wrong.
 *
 * @throws {FlowError} `http.timeout`, `http.unavailable`, `delivery.stopped`, and what `work` throws.
 */
export async function exchange<T>(
  { clock, timeout, signal, label }: ExchangeOptions,
  work: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const abort = new AbortController();
  const stop = () => abort.abort();
  let late = false;
  const timer = timeout === null ? undefined : clock.after(timeout, () => {
    late = true;
    stop();
  });
  signal.addEventListener("abort", stop, { once: true });
  if (signal.aborted) stop();
  try {
    return await work(abort.signal);
  } catch (cause) {
    if (cause instanceof FlowError) throw cause;
    if (signal.aborted) throw toFlowError(signal.reason, "delivery.stopped");
    if (late) {
      throw new FlowError(
        "http.timeout",
        `${label} gave no answer within ${formatDuration(timeout!)}`,
        {
          cause,
        },
      );
    }
    throw new FlowError("http.unavailable", `${label} failed: ${reasonOf(cause)}`, { cause });
  } finally {
    timer?.clear();
    signal.removeEventListener("abort", stop);
  }
}
