import { toFlowError } from "../core/errors.ts";
import type { Log } from "../core/log.ts";

/**
 * Logs what breaks where nobody waits for it, such as a promise that a task of one's own or a trusted
 * script left floating, and goes on: one flow's defect must not end the others.
 */
export function logUnhandled(log: Log): void {
  const report = (cause: unknown) => {
    const { message } = toFlowError(cause);
    const stack = cause instanceof Error ? cause.stack : undefined;
    log.error("Something broke that nobody waited for", {
      code: "runtime.unhandled",
      error: message,
      stack,
    });
  };
  globalThis.addEventListener("unhandledrejection", (event) => {
    event.preventDefault();
    report(event.reason);
  });
  globalThis.addEventListener("error", (event) => {
    event.preventDefault();
    report(event.error);
  });
}
