import * as v from "valibot";
import { FlowError } from "../../core/errors.ts";
import { TemplateJson, TemplateMap, TemplateNumber } from "../../flow/schema.ts";
import { defineTask } from "../../flow/task.ts";
import { renderHeaders } from "./headers.ts";

/** Headers that frame the message; the server sets them. */
const FRAMING = new Set(["content-length", "transfer-encoding", "connection"]);

/** Answers the waiting request at once; the event goes on, and nobody hears of its fate. */
export const httpRespond = defineTask({
  type: "http_respond",
  mode: "sync",
  summary: "Answers the waiting HTTP request with a status, headers and a body of your choice.",
  config: v.strictObject({
    status: v.pipe(
      v.optional(
        v.pipe(
          TemplateNumber,
          v.check(
            ({ constant }) => constant === undefined || isStatus(constant),
            "Expected a status from 200 to 599",
          ),
        ),
        200,
      ),
      v.description("Status to answer with, from 200 to 599."),
    ),
    headers: v.pipe(
      v.optional(
        v.pipe(
          TemplateMap,
          v.check(
            (map) => Object.keys(map).every((name) => !FRAMING.has(name.toLowerCase())),
            "Expected no content-length, transfer-encoding or connection: the server sets them",
          ),
        ),
        {},
      ),
      v.description(
        "Headers of the answer. With a `content-type`, a body that is text is sent as it is.",
      ),
    ),
    body: v.pipe(
      v.optional(TemplateJson),
      v.description("Body of the answer, sent as JSON; the event's data when left out."),
    ),
  }),
  examples: [{
    title: "Answer before the slow part of a flow",
    config: { status: 202, body: { accepted: "{{event.data.id}}" } },
    input: [{ id: 7 }],
    output: [{ id: 7 }],
  }],
  create({ config: { status, headers, body } }) {
    return (event, emit, call) => {
      const code = status.at(event);
      if (!isStatus(code)) {
        throw new FlowError("http.status_invalid", `Cannot answer with the status ${code}`, {
          hint: "use a whole number from 200 to 599",
        });
      }
      call.respond({
        status: code,
        headers: Object.fromEntries(renderHeaders(headers, event)),
        body: body ? body.at(event) : event.data,
      });
      emit(event);
    };
  },
});

function isStatus(code: number): boolean {
  return Number.isInteger(code) && code >= 200 && code <= 599;
}
