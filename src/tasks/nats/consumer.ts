import type { ConsumerConfig, ConsumerInfo, JetStreamManager } from "@nats-io/jetstream";
import { FlowError } from "../../core/errors.ts";
import { natsError } from "../../nats/errors.ts";
import { type Change, fixedSetting, valuesOf } from "./settings.ts";
import { codeOf, streamsOf } from "./stream.ts";

/** What a subscriber needs of its durable consumer. Times in milliseconds. */
export interface ConsumerSpec {
  readonly name: string;
  readonly subject: string;
  /** Whether the name was left to us, so that nobody else's subject can be taken away. */
  readonly own: boolean;
  readonly ackWait: number;
  readonly maxAckPending: number;
  /** Only given to a new one: the server never changes it. */
  readonly maxWaiting: number | undefined;
}

/** The server's numbers for a consumer that others are making at the same time. */
const CONSUMER_TAKEN = new Set([10013, 10105, 10148]);

/**
 * Sees that the durable consumer is there and as wanted. What it remembers, stays.
 *
 * @throws {FlowError} `nats.consumer_fixed`, `nats.stream_missing`, and what `natsError` makes of the
 *   server's answers.
 */
export async function ensureConsumer(
  { consumers }: Pick<JetStreamManager, "consumers">,
  stream: string,
  spec: ConsumerSpec,
): Promise<void> {
  for (let attempt = 1;; attempt++) {
    const current = await infoOf(consumers, stream, spec.name);
    try {
      if (!current) {
        await consumers.add(stream, wantedConfig(spec) as ConsumerConfig);
        return;
      }
      const changes = diffConsumer(current.config, stream, spec);
      if (changes.length > 0) await consumers.update(stream, spec.name, valuesOf(changes));
      return;
    } catch (cause) {
      if (attempt === 1 && CONSUMER_TAKEN.has(codeOf(cause) ?? 0)) continue;
      throw natsError(cause, `${current ? "update" : "create"} the consumer "${spec.name}"`);
    }
  }
}

/**
 * The stream that has this subject.
 *
 * @throws {FlowError} `nats.stream_missing`, `nats.stream_ambiguous`
 */
export async function findStream(
  { streams }: Pick<JetStreamManager, "streams">,
  subject: string,
): Promise<string> {
  let names: string[];
  try {
    names = await streamsOf(streams, subject);
  } catch (cause) {
    throw natsError(cause, `look for the stream of "${subject}"`);
  }
  if (names.length === 1) return names[0]!;
  if (names.length === 0) {
    throw new FlowError("nats.stream_missing", `No stream takes the subject "${subject}"`, {
      hint: "create one, or let the task do so with stream.name and stream.create_or_update: true",
    });
  }
  throw new FlowError(
    "nats.stream_ambiguous",
    `Several streams take the subject "${subject}": ${names.map((one) => `"${one}"`).join(", ")}`,
    { hint: "name one of them in stream.name" },
  );
}

/** A new consumer. We count deliveries ourselves, so the server never gives a message up. */
export function wantedConfig(spec: ConsumerSpec): Partial<ConsumerConfig> {
  return {
    durable_name: spec.name,
    filter_subject: spec.subject,
    ack_policy: "explicit",
    ack_wait: spec.ackWait * 1e6,
    max_deliver: -1,
    max_ack_pending: spec.maxAckPending,
    ...(spec.maxWaiting !== undefined && { max_waiting: spec.maxWaiting }),
  };
}

/**
 * What has to change of a consumer that is there, perhaps made by another program.
 *
 * @throws {FlowError} `nats.consumer_fixed` for what cannot be changed.
 */
export function diffConsumer(
  current: ConsumerConfig,
  stream: string,
  spec: ConsumerSpec,
): Change[] {
  const what = `consumer "${spec.name}" of stream "${stream}"`;
  const fixed = (field: string, from: unknown, to: unknown, hint: string) =>
    fixedSetting("nats.consumer_fixed", what, { field, from, to }, hint);
  const other = "use another durable_name, or delete the consumer and with it what it remembers";
  if (current.deliver_subject) {
    throw fixed("the kind", "push", "pull", other);
  }
  if (current.ack_policy !== "explicit") {
    throw fixed("ack_policy", current.ack_policy, "explicit", other);
  }
  const from = current.filter_subject ?? current.filter_subjects?.join(", ") ?? ">";
  if (from !== spec.subject && !spec.own) throw fixed("the subject", from, spec.subject, other);
  if (spec.maxWaiting !== undefined && current.max_waiting !== spec.maxWaiting) {
    throw fixed("max_waiting", current.max_waiting, spec.maxWaiting, "leave it out, or " + other);
  }
  const wanted: [field: string, setting: keyof ConsumerConfig, to: unknown, absent: unknown][] = [
    ["subject", "filter_subject", spec.subject, undefined],
    ["ack_wait", "ack_wait", spec.ackWait * 1e6, undefined],
    ["max_ack_pending", "max_ack_pending", spec.maxAckPending, undefined],
    ["max_deliver", "max_deliver", -1, -1],
    ["headers_only", "headers_only", false, false],
    ["filter_subjects", "filter_subjects", undefined, undefined],
    ["backoff", "backoff", undefined, undefined],
  ];
  return wanted.flatMap(([field, setting, to, absent]) => {
    const now = current[setting] ?? absent;
    return now === to ? [] : [{ field, setting, from: now, to }];
  });
}

async function infoOf(
  consumers: JetStreamManager["consumers"],
  stream: string,
  name: string,
): Promise<ConsumerInfo | null> {
  try {
    return await consumers.info(stream, name);
  } catch (cause) {
    const error = natsError(cause, `look at the consumer "${name}"`);
    if (error.code === "nats.consumer_missing") return null;
    throw error;
  }
}
