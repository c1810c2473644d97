import assert from "node:assert/strict";
import * as v from "valibot";
import type { Data, FlowEvent } from "../../flow/event.ts";
import type { HttpReply, SyncRun } from "../../flow/task.ts";
import { testCall, testContext, testEvent } from "../../flow/testing.ts";
import { httpRespond } from "./http_respond.ts";

function respond(config: unknown, data: Data, waiting = true) {
  const replies: HttpReply[] = [];
  const out: FlowEvent[] = [];
  const run = httpRespond.create(testContext(httpRespond, config)) as SyncRun;
  const emit = (event: FlowEvent) => void out.push(event);
  const event = testEvent(data);
  run(event, emit, testCall(emit, { respond: (reply) => (replies.push(reply), waiting) }));
  assert.deepEqual(out, [event]);
  return replies[0];
}

Deno.test("http_respond answers 200 with the event's data unless told otherwise", () => {
  assert.deepEqual(respond({}, { a: 1 }), { status: 200, headers: {}, body: { a: 1 } });
});

Deno.test("http_respond fills status, headers and body from the event", () => {
  const config = {
    status: "{{event.data.code}}",
    headers: { "X-Id": "{{event.data.id}}", "content-type": "text/plain" },
    body: "order {{event.data.id}}",
  };
  assert.deepEqual(respond(config, { code: 201, id: 7 }), {
    status: 201,
    headers: { "x-id": "7", "content-type": "text/plain" },
    body: "order 7",
  });
});

Deno.test("http_respond passes events on when nobody waits", () => {
  respond({}, null, false);
});

Deno.test("http_respond refuses statuses that are none", () => {
  for (const status of [199, 600, 200.5]) {
    assert.ok(!v.safeParse(httpRespond.config, { status }).success);
    assert.throws(() => respond({ status: "{{event.data}}" }, status), {
      code: "http.status_invalid",
      message: `Cannot answer with the status ${status}`,
    });
  }
});

Deno.test("http_respond refuses headers that the server sets or that would break the answer", () => {
  assert.ok(!v.safeParse(httpRespond.config, { headers: { "Content-Length": 5 } }).success);
  const config = { headers: { x: "{{event.data}}" } };
  assert.throws(() => respond(config, "a\r\nset-cookie: b"), { code: "http.header_invalid" });
});
