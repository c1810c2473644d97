import { FlowError, InternalError, textOf } from "../core/errors.ts";

/** What a client or the platform threw, as an error of the store. */
export function storeFault(cause: unknown): FlowError {
  if (cause instanceof FlowError) return cause;
  const why = textOf(cause);
  // A call that the platform does not take is no better the next time.
  if (cause instanceof TypeError || cause instanceof RangeError) {
    return new InternalError("store.call_invalid", `The store refused a call: ${why}`, { cause });
  }
  return new FlowError("store.unavailable", `Cannot reach the store: ${why}`, { cause });
}
