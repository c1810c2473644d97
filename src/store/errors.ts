import { FlowError, textOf } from "../core/errors.ts";

/** What a client or the platform threw, as an error of the store. */
export function storeFault(cause: unknown): FlowError {
  if (cause instanceof FlowError) return cause;
  const why = textOf(cause);
  return new FlowError("store.unavailable", `Cannot reach the store: ${why}`, { cause });
}
