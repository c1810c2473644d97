import { systemClock } from "../core/clock.ts";
import { type ErrorView, FlowError } from "../core/errors.ts";

/** A node answers from memory; one that takes longer has stopped working. Milliseconds. */
const PATIENCE = 5_000;

export interface Ask {
  /** Makes it a POST with this body. */
  readonly body?: object;
  /** Milliseconds to wait for the answer. */
  readonly patience?: number;
}

/**
 * Asks a running node over its control socket.
 *
 * @throws {FlowError} `control.no_node`, `control.no_answer`, `control.refused`, and what the node
 * says went wrong
 */
export async function askNode(
  socket: string,
  path: string,
  { body, patience = PATIENCE }: Ask = {},
): Promise<unknown> {
  const client = Deno.createHttpClient({ proxy: { transport: "unix", path: socket } });
  const late = new AbortController();
  const timer = systemClock.after(patience, () => late.abort());
  try {
    const response = await fetch(`http://flowgen${path}`, {
      client,
      signal: late.signal,
      ...(body && { method: "POST", body: JSON.stringify(body) }),
    });
    const answer = await response.json();
    if (response.ok) return answer;
    throw refused(response.status, answer.error);
  } catch (cause) {
    if (cause instanceof FlowError) throw cause;
    if (late.signal.aborted) {
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

function refused(status: number, error: Partial<ErrorView> | undefined): FlowError {
  const { code = "control.refused", message = `Status ${status}`, hint, position } = error ?? {};
  // An older node answers so for what it does not have.
  if (code === "http.not_found") return new FlowError("control.refused", message);
  return new FlowError(code, message, { hint, position });
}
