import assert from "node:assert/strict";
import { FlowError } from "../../core/errors.ts";
import { readHeaders } from "./headers.ts";
import { answerOf, failedAnswer, writeHeaders } from "./service_error.ts";
import { headersOf } from "./testing.ts";

Deno.test("a failed request is answered with a status, and with words only for the caller's own fault", () => {
  const shown = (code: string) => {
    const { headers } = failedAnswer(new FlowError(code, "secret\nhost"));
    return [headers["Nats-Service-Error-Code"], headers["Nats-Service-Error"]];
  };
  assert.deepEqual(shown("event.x"), ["400", "secret host"]);
  assert.deepEqual(shown("http.window_full"), ["429", "secret host"]);
  assert.deepEqual(shown("delivery.timeout"), ["504", "secret host"]);
  assert.deepEqual(shown("http.unavailable"), ["500", "The flow failed"]);
  assert.deepEqual(shown("toString"), ["500", "The flow failed"]);
});

Deno.test("answers have the data of the flow, and what http_respond says", () => {
  const text = (payload: Uint8Array) => new TextDecoder().decode(payload);
  assert.equal(text(answerOf({ kind: "list", items: [1] }).payload), "[1]");
  assert.equal(answerOf({ kind: "accepted" }).payload.length, 0);
  const response = { status: 404, headers: { a: "b", "bad name": "c" }, body: "no such order" };
  const answer = answerOf({ kind: "response", response });
  assert.equal(text(answer.payload), '"no such order"');
  assert.deepEqual(readHeaders(writeHeaders(headersOf({}), answer.headers)), {
    a: "b",
    "Nats-Service-Error-Code": "404",
    "Nats-Service-Error": "no such order",
  });
  const fine = answerOf({ kind: "response", response: { status: 200, headers: {} } });
  assert.equal(writeHeaders(headersOf({}), fine.headers), undefined);
});
