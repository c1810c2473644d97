import assert from "node:assert/strict";
import { newEvent } from "../../flow/event.ts";
import { fillHeaders, messageMeta, readHeaders } from "./headers.ts";
import { headersOf } from "./testing.ts";

Deno.test("headers of a message are text by name", () => {
  assert.equal(readHeaders(undefined), null);
  assert.equal(readHeaders(headersOf({})), null);
  const headers = headersOf({ A: "1", b: "2" });
  headers.append("A", "3");
  assert.deepEqual(readHeaders(headers), { A: "1, 3", b: "2" });
});

Deno.test("a correlation id goes from flow to flow, unless it is none", () => {
  const id = { "Flowgen-Correlation-Id": "abc:1" };
  assert.deepEqual(messageMeta({}, id), { correlation_id: "abc:1", nats: {} });
  for (const bad of ["", "a b", "x".repeat(200), "<b>"]) {
    assert.deepEqual(messageMeta({}, { "Flowgen-Correlation-Id": bad }), { nats: {} });
  }
  const event = newEvent({ data: 1, subject: "s", meta: { correlation_id: "c-1" } }, 0);
  assert.deepEqual(readHeaders(fillHeaders(headersOf({}), {}, event)), {
    "Flowgen-Correlation-Id": "c-1",
  });
});
