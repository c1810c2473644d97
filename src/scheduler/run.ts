import { logFor } from "../core/log.ts";

/** Starts what is due. Its failure is its owner's to handle; here it must only not spread. */
export async function runDue(run: () => void | Promise<void>): Promise<void> {
  try {
    await run();
  } catch (cause) {
    logFor("scheduler").error("Something that was due failed", { cause });
  }
}
