import type { Msg } from "@nats-io/nats-core";
import * as v from "valibot";
import { FlowError } from "../../core/errors.ts";
import { derive } from "../../flow/event.ts";
import { Duration, TemplateMap } from "../../flow/schema.ts";
import { defineTask } from "../../flow/task.ts";
import { natsError } from "../../nats/errors.ts";
import { connect, connectionFields } from "./connection.ts";
import { fillHeaders, readHeaders } from "./headers.ts";
import { decodePayload, encodePayload, payloadField } from "./payload.ts";
import { checkSize, subjectFor, TemplateSubject } from "./publish.ts";
import { SERVICE_ERROR, SERVICE_ERROR_CODE } from "./service_error.ts";

const Config = v.strictObject({
  subject: v.pipe(
    TemplateSubject,
    v.description("Subject to ask, such as `prices.{{event.data.symbol}}`; a template."),
  ),
  headers: v.pipe(
    v.optional(TemplateMap, {}),
    v.description(
      "Headers of the request; values are templates. `Flowgen-Correlation-Id` is added from the event.",
    ),
  ),
  timeout: v.optional(
    v.pipe(
      Duration,
      v.minValue(1, "Expected a timeout of at least 1ms"),
      v.description("How long the answer may take."),
    ),
    "5s",
  ),
  payload: payloadField("the event fails"),
  ...connectionFields,
});

/**
 * Asks whoever answers on a subject; the answer is the next data, and its headers are in
 * `event.meta.nats`. An answer with `Nats-Service-Error` fails the event, and is tried again where its
 * code is 408, 429 or from 500 on. That nobody answers on the subject is tried again too.
 */
export const natsRequest = defineTask({
  type: "nats_request",
  mode: "async",
  concurrency: 64,
  summary: "Sends a request by NATS and goes on with the answer.",
  config: Config,
  examples: [{
    title: "Ask for the price of an order",
    config: { subject: "prices.ask", timeout: "2s" },
  }],
  async create(context) {
    const { config, name } = context;
    const lease = await connect(context);
    const { headers: noHeaders } = await import("@nats-io/nats-core");
    const { timeout } = config;
    return async (event, { signal }) => {
      if (lease.trouble !== null) await lease.ready(timeout, signal);
      const subject = subjectFor(config.subject, event);
      const payload = encodePayload(event.data);
      const headers = fillHeaders(noHeaders(), config.headers, event);
      checkSize(subject, payload, headers, lease.server.maxPayload);
      let answer: Msg;
      try {
        answer = await lease.connection.request(subject, payload, { headers, timeout });
      } catch (cause) {
        throw natsError(cause, `ask "${subject}"`);
      }
      const facts = readHeaders(answer.headers);
      if (facts) failOn(facts, subject);
      return derive(event, {
        data: decodePayload(config.payload, answer.data, subject),
        subject: name,
        meta: facts ? { ...event.meta, nats: { headers: facts } } : event.meta,
      });
    };
  },
});

/** @throws {FlowError} `nats.request_failed`, `nats.request_retry` */
function failOn(headers: Readonly<Record<string, string>>, subject: string): void {
  const text = headers[SERVICE_ERROR];
  const code = headers[SERVICE_ERROR_CODE];
  if (text === undefined && code === undefined) return;
  const status = Number(code);
  const passing = status >= 500 || status === 408 || status === 429;
  const answer = [code, text].filter(Boolean).join(": ");
  throw new FlowError(
    passing ? "nats.request_retry" : "nats.request_failed",
    `"${subject}" answered ${answer}`,
  );
}
