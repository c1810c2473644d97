import assert from "node:assert/strict";
import * as v from "valibot";
import type { Field } from "../../flow/field.ts";
import { testEvent } from "../../flow/testing.ts";
import { checkSize, publishError, subjectFor, TemplateSubject } from "./publish.ts";
import { headersOf } from "./testing.ts";

Deno.test("the size of a message counts its headers as they are sent", () => {
  const headers = headersOf({ A: "é", Long: "x".repeat(10) });
  const encoded = (headers as unknown as { encode(): Uint8Array }).encode().length;
  const payload = new Uint8Array(50);
  checkSize("s", payload, headers, 50 + encoded);
  assert.throws(() => checkSize("s", payload, headers, 49 + encoded), {
    code: "nats.message_too_large",
    message: `Cannot publish to "s": the message has ${50 + encoded} bytes and the server takes ${
      49 + encoded
    }`,
  });
  checkSize("s", payload, headersOf({}), 50);
});

Deno.test("a subject is checked with the file, one made of an event when it is there", () => {
  assert.equal(v.safeParse(TemplateSubject, "a b").success, false);
  assert.equal(v.safeParse(TemplateSubject, "a.*").success, false);
  const field: Field<string> = v.parse(TemplateSubject, "a.{{event.data}}");
  assert.equal(subjectFor(field, testEvent("b")), "a.b");
  assert.throws(() => subjectFor(field, testEvent("*")), { code: "nats.subject_invalid" });
});

Deno.test("that nobody took a message is told as a matter of streams", () => {
  const unheard = Object.assign(new Error("no responders"), { name: "NoResponders" });
  const request = Object.assign(new Error("x", { cause: unheard }), { name: "RequestError" });
  const cause = Object.assign(new Error("jetstream is not enabled", { cause: request }), {
    name: "JetStreamNotEnabled",
  });
  const { code, message, remedy } = publishError(cause, "a.b");
  assert.deepEqual([code, message, remedy], [
    "nats.no_stream",
    'Cannot publish to "a.b": no stream takes it',
    "retry",
  ]);
  assert.equal(publishError(new Error("x"), "a").code, "nats.failed");
});
