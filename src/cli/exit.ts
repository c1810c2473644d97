import { FlowError, FlowErrors, toFlowError } from "../core/errors.ts";

/** Exit codes. 78 is `EX_CONFIG` of sysexits.h: mend a file; nothing has been started. */
export const Exit = { ok: 0, failure: 1, usage: 2, config: 78 } as const;

export function exitOf(cause: unknown): number {
  if (cause instanceof FlowErrors) return Exit.config; // Only checks of files collect findings.
  if (!(cause instanceof FlowError)) return Exit.failure;
  if (cause.code.startsWith("usage.")) return Exit.usage;
  return cause.code.startsWith("config.") ? Exit.config : Exit.failure;
}

/** What to tell about anything that was thrown. */
export function findingsOf(cause: unknown): readonly FlowError[] {
  if (cause instanceof FlowErrors) return cause.findings;
  if (cause instanceof FlowError) return [cause];
  const { message } = toFlowError(cause);
  return [
    new FlowError("internal.unexpected", message, {
      hint: "this may be a defect of flowgen; please report it",
      cause,
    }),
  ];
}
