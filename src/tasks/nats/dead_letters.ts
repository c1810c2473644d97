import type { JetStreamClient } from "@nats-io/jetstream";
import type { MsgHdrs } from "@nats-io/nats-core";
import { FlowError } from "../../core/errors.ts";
import { ID_HEADER, readHeaders } from "./headers.ts";
import { publishError } from "./publish.ts";
import type { Taken } from "./taken.ts";

export interface DeadLetterOptions {
  readonly subject: string;
  readonly flow: string;
  readonly task: string;
  readonly jetstream: JetStreamClient;
  readonly headers: () => MsgHdrs;
}

/** Characters of an error's text in a header. */
const LONGEST_TEXT = 500;

/**
 * Publishes a message that is given up to the dead-letter subject and waits until a stream has it. The
 * payload is as it came, and so are the headers but those that tell the server what to do; the rest is
 * in `Flowgen-*` headers. Its id is made of stream, consumer and sequence: given up twice, it is stored
 * once.
 *
 * @throws {FlowError} like `publishError`
 */
export async function publishDeadLetter(
  { subject, flow, task, jetstream, headers: empty }: DeadLetterOptions,
  { message, info }: Taken,
  cause: FlowError,
): Promise<void> {
  const headers = empty();
  for (const [name, value] of Object.entries(readHeaders(message.headers) ?? {})) {
    if (name === ID_HEADER) headers.set("Flowgen-Msg-Id", value);
    else if (/^(?!nats-)[\w-]+$/i.test(name)) headers.set(name, value);
  }
  const facts = {
    "Flowgen-Flow": flow,
    "Flowgen-Task": task,
    "Flowgen-Subject": message.subject,
    "Flowgen-Stream": info.stream,
    "Flowgen-Sequence": String(info.sequence),
    "Flowgen-Deliveries": String(info.deliveries),
    "Flowgen-Error-Code": cause.code,
    "Flowgen-Error": oneLine(cause.message),
  };
  for (const [name, value] of Object.entries(facts)) headers.set(name, value);
  const msgID = `${info.stream}.${info.consumer}.${info.key}`;
  try {
    await jetstream.publish(subject, message.data, { headers, msgID });
  } catch (failure) {
    throw publishError(failure, subject);
  }
}

function oneLine(text: string): string {
  return text.replace(/\s+/g, " ").slice(0, LONGEST_TEXT);
}

/** Why a message is given up that came too often. */
export function tooOften(deliveries: number, most: number): FlowError {
  return new FlowError(
    "nats.too_many_deliveries",
    `The message came ${deliveries} times and was never done; max_deliver is ${most}`,
    { hint: "see what its flow made of it, or whether it ended the process" },
  );
}
