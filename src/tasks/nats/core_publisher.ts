import type { NatsConnection } from "@nats-io/nats-core";
import * as v from "valibot";
import { type Clock, sleep } from "../../core/clock.ts";
import { formatDuration } from "../../core/duration.ts";
import { FlowError } from "../../core/errors.ts";
import { derive } from "../../flow/event.ts";
import { Duration, TemplateMap } from "../../flow/schema.ts";
import { defineTask } from "../../flow/task.ts";
import { natsError } from "../../nats/errors.ts";
import { connect, connectionFields } from "./connection.ts";
import { fillHeaders } from "./headers.ts";
import { encodePayload } from "./payload.ts";
import { checkSize, subjectFor, TemplateSubject } from "./publish.ts";

const Config = v.strictObject({
  subject: v.pipe(
    TemplateSubject,
    v.description("Subject to publish to, such as `orders.{{event.data.country}}`; a template."),
  ),
  headers: v.pipe(
    v.optional(TemplateMap, {}),
    v.description(
      "Headers of the message; values are templates. `Flowgen-Correlation-Id` is added from the event.",
    ),
  ),
  timeout: v.optional(
    v.pipe(
      Duration,
      v.minValue(1, "Expected a timeout of at least 1ms"),
      v.description("How long the server may take to have the message."),
    ),
    "5s",
  ),
  ...connectionFields,
});

/**
 * Publishes each event by core NATS and passes it on. It is done when the server has the message, which
 * says nothing about who listens: without a subscriber it is gone. Tried again, a message may go out
 * twice. Data goes out as compact JSON, bytes as they are.
 */
export const natsCorePublisher = defineTask({
  type: "nats_core_publisher",
  mode: "async",
  concurrency: 256,
  summary: "Publishes events to whoever listens on a NATS subject right now.",
  config: Config,
  examples: [{
    title: "Tell others of a new price",
    config: { subject: "prices.{{event.data.symbol}}" },
  }],
  async create(context) {
    const { config, name, clock } = context;
    const lease = await connect(context);
    const { headers: noHeaders } = await import("@nats-io/nats-core");
    const flush = flusher(lease.connection, clock, config.timeout);
    return async (event, { signal }) => {
      if (lease.trouble !== null) await lease.ready(config.timeout, signal);
      const subject = subjectFor(config.subject, event);
      const payload = encodePayload(event.data);
      const headers = fillHeaders(noHeaders(), config.headers, event);
      checkSize(subject, payload, headers, lease.server.maxPayload);
      try {
        lease.connection.publish(subject, payload, { headers });
        await flush();
      } catch (cause) {
        throw natsError(cause, `publish to "${subject}"`);
      }
      return derive(event, { data: event.data, subject: name, id: event.id });
    };
  },
});

/** Asks the server whether it has everything; all who ask at one time share one question. */
function flusher(connection: NatsConnection, clock: Clock, timeout: number): () => Promise<void> {
  let next: Promise<void> | null = null;
  return () =>
    next ??= Promise.resolve().then(() => {
      next = null;
      return within(connection.flush(), clock, timeout);
    });
}

async function within(done: Promise<void>, clock: Clock, timeout: number): Promise<void> {
  const over = new AbortController();
  const late = sleep(clock, timeout, over.signal).then(() => {
    if (over.signal.aborted) return;
    const after = formatDuration(timeout);
    throw new FlowError("nats.timeout", `Cannot publish: the server is silent for ${after}`);
  });
  try {
    await Promise.race([done, late]);
  } finally {
    over.abort();
    done.catch(() => {}); // It may fail when nobody waits any more.
  }
}
