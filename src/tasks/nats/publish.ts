import * as v from "valibot";
import { FlowError } from "../../core/errors.ts";
import type { FlowEvent } from "../../flow/event.ts";
import type { Field } from "../../flow/field.ts";
import { TemplateText } from "../../flow/schema.ts";
import { natsError } from "../../nats/errors.ts";
import { isSubject } from "./names.ts";

/** A subject to publish to, which may be a template; what is none is checked with the file. */
export const TemplateSubject = v.pipe(
  TemplateText,
  v.check(
    ({ constant }) => constant === undefined || isSubject(constant),
    'Expected a subject such as "orders.new"',
  ),
);

/** What a header adds to a message beside its name and value: ": " and the end of the line. */
const HEADER_EXTRA = 4;
/** "NATS/1.0", the end of its line, and the empty line after the last header. */
const HEADERS_EXTRA = 12;

/**
 * The subject for an event.
 *
 * @throws {FlowError} `nats.subject_invalid`, and what templates throw.
 */
export function subjectFor(field: Field<string>, event: FlowEvent): string {
  const subject = field.at(event);
  // What is no template was checked with the file.
  if (field.constant !== undefined || isSubject(subject)) return subject;
  throw new FlowError("nats.subject_invalid", `Cannot publish to the subject "${subject}"`, {
    hint: 'a subject is parts with "." between them, without spaces, "*" and ">"',
  });
}

/** @throws {FlowError} `nats.message_too_large`, with the sizes. */
export function checkSize(
  subject: string,
  payload: Uint8Array,
  headers: Iterable<[string, string[]]>,
  limit: number,
): void {
  const size = payload.length + headersSize(headers);
  if (limit <= 0 || size <= limit) return;
  throw new FlowError(
    "nats.message_too_large",
    `Cannot publish to "${subject}": the message has ${size} bytes and the server takes ${limit}`,
    { hint: "raise the server's max_payload, or send less at once" },
  );
}

function headersSize(headers: Iterable<[string, string[]]>): number {
  let size = 0;
  for (const [name, values] of headers) {
    for (const value of values) size += bytesOf(name) + bytesOf(value) + HEADER_EXTRA;
  }
  return size === 0 ? 0 : size + HEADERS_EXTRA;
}

/** Of UTF-8. */
function bytesOf(text: string): number {
  return /^[\x20-\x7e]*$/.test(text) ? text.length : new TextEncoder().encode(text).length;
}

/** What JetStream said of a message that it did not store. */
export function publishError(cause: unknown, subject: string): FlowError {
  // Nobody listens to a subject that no stream has; also while a stream looks for its leader.
  if (!isUnheard(cause)) return natsError(cause, `publish to "${subject}"`);
  return new FlowError("nats.no_stream", `Cannot publish to "${subject}": no stream takes it`, {
    hint: "create one that has the subject, or give the task stream.create_or_update: true",
    cause,
  });
}

/** Whether the server said that nobody listens; the client tells it far down in what it throws. */
export function isUnheard(cause: unknown): boolean {
  for (let at = cause; at instanceof Error; at = at.cause) {
    if (/^NoResponders/.test(at.name)) return true;
  }
  return false;
}
