import { systemClock } from "../core/clock.ts";
import { FlowError } from "../core/errors.ts";

/** A node answers from memory; one that takes longer has stopped working. Milliseconds. */
const PATIENCE = 5_000;

/**
 * Asks a running node over its control socket.
 *
 * @throws {FlowError} `control.no_node`, `control.no_answer`, `control.refused`
 */
export async function askNode(socket: string, path: string): Promise<unknown> {
  const client = Deno.createHttpClient({ proxy: { transport: "unix", path: socket } });
  const patience = new AbortController();
  const timer = systemClock.after(PATIENCE, () => patience.abort());
  try {
    const response = await fetch(`http://flowgen${path}`, { client, signal: patience.signal });
    const body = await response.json();
    if (response.ok) return body;
    throw new FlowError("control.refused", body.error?.message ?? `Status ${response.status}`);
  } catch (cause) {
    if (cause instanceof FlowError) throw cause;
    if (patience.signal.aborted) {
      throw new FlowError("control.no_answer", `The node at ${socket} does not answer`, { cause });
    }
    throw new FlowError("control.no_node", `No running node found at ${socket}`, {
      hint: "start one with flowgen run; with --config, status asks the node of that configuration",
      cause,
    });
  } finally {
    timer.clear();
    client.close();
  }
}
