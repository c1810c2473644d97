import { FlowError } from "../core/errors.ts";
import { natsError } from "./errors.ts";
import type { NatsLease } from "./link.ts";

/** For the server to say what the account may use; one whose cluster has no leader says nothing. */
const ANSWER_LIMIT = 2_000;

/**
 * Sees that JetStream can be used, since everything asked of it would only run into timeouts.
 *
 * @throws {FlowError} `nats.no_jetstream`, `nats.unavailable` and the like (try again)
 */
export async function checkJetStream(lease: NatsLease): Promise<void> {
  try {
    const { jetstreamManager } = await import("@nats-io/jetstream");
    await jetstreamManager(lease.connection, { timeout: ANSWER_LIMIT });
  } catch (cause) {
    const error = natsError(cause, "use JetStream");
    // A server that has JetStream says so when one connects; a part of a cluster may lack it.
    if (error.code !== "nats.no_responders" || lease.server.jetstream) throw error;
    throw new FlowError("nats.no_jetstream", "Cannot use JetStream: the server runs without it", {
      hint: "start the server with JetStream (-js), or name one that has it",
      cause,
    });
  }
}
