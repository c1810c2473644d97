import assert from "node:assert/strict";
import * as jetstream from "@nats-io/jetstream";
import { jserrors } from "@nats-io/jetstream/internal";
import * as core from "@nats-io/nats-core";
import { FlowError } from "../core/errors.ts";
import { isAmbiguous, natsError } from "./errors.ts";

const api = (err_code: number, code: number, description = "the server's words") =>
  new jetstream.JetStreamApiError({ err_code, code, description });
const request = (cause: Error) => new core.RequestError(cause.message, { cause });

Deno.test("every error of the client says whether trying again can help", () => {
  const known: [cause: unknown, code: string, remedy: string][] = [
    [new core.TimeoutError(), "nats.timeout", "retry"],
    [request(new core.NoRespondersError("a")), "nats.no_responders", "retry"],
    [new core.RequestError("connection closed"), "nats.unavailable", "retry"],
    [request(new core.RequestError("connection closed")), "nats.unavailable", "retry"],
    [new core.ClosedConnectionError(), "nats.unavailable", "retry"],
    [new core.DrainingConnectionError(), "nats.unavailable", "retry"],
    [new core.ConnectionError("refused"), "nats.unavailable", "retry"],
    [new Deno.errors.ConnectionReset("x"), "nats.unavailable", "retry"],
    [
      new core.PermissionViolationError("x", "publish", "a"),
      "nats.permission_denied",
      "config",
    ],
    [new core.AuthorizationError("x"), "nats.auth_failed", "config"],
    [new core.InvalidSubjectError("a b"), "nats.subject_invalid", "event"],
    [
      core.InvalidArgumentError.format("payload", "max_payload size exceeded"),
      "nats.message_too_large",
      "event",
    ],
    [
      new jserrors.JetStreamNotEnabled("x", { cause: api(10039, 503) }),
      "nats.no_jetstream",
      "config",
    ],
    [
      // The client's words for a stream without a leader.
      new jserrors.JetStreamNotEnabled("x", {
        cause: request(new core.NoRespondersError("a")),
      }),
      "nats.no_responders",
      "retry",
    ],
    [api(10059, 404), "nats.stream_missing", "config"],
    [api(10014, 404), "nats.consumer_missing", "retry"],
    [api(10071, 400), "nats.conflict", "retry"],
    [api(10054, 400), "nats.message_too_large", "event"],
    [api(10065, 400), "nats.subject_overlap", "config"],
    [api(10047, 500), "nats.limit_reached", "retry"],
    [api(10008, 503), "nats.unavailable", "retry"],
    [api(10005, 400), "nats.unavailable", "retry"],
    [api(10158, 409), "nats.unavailable", "retry"],
    [api(10167, 429), "nats.unavailable", "retry"],
    [api(10027, 400), "nats.limit_reached", "retry"],
    [api(10074, 500), "nats.no_cluster", "config"],
    [api(10052, 400), "nats.refused", "config"],
    [new TypeError("x"), "nats.failed", "bug"],
    ["text", "nats.failed", "bug"],
  ];
  for (const [cause, code, remedy] of known) {
    const error = natsError(cause, "do it");
    assert.deepEqual([error.code, error.remedy], [code, remedy], String(cause));
    assert.equal(error.cause, cause);
    assert.match(error.message, /^Cannot do it: ./);
  }
});

Deno.test("an error says what could not be done, and why", () => {
  const text = (cause: unknown) => natsError(cause, "publish to orders.new").message;
  assert.equal(
    text(new core.TimeoutError()),
    "Cannot publish to orders.new: the server did not answer in time",
  );
  assert.equal(
    text(api(10059, 404, "stream not found")),
    "Cannot publish to orders.new: stream not found",
  );
});

Deno.test("an error of ours stays as it is", () => {
  const error = new FlowError("nats.url_invalid", "x");
  assert.equal(natsError(error, "do it"), error);
});

Deno.test("only a missing answer leaves open what happened", () => {
  const lost = [new core.TimeoutError(), new core.RequestError("connection closed")];
  const said = [
    request(new core.NoRespondersError("a")),
    api(10071, 400),
    api(10008, 503),
    new core.PermissionViolationError("x", "publish", "a"),
  ];
  for (const cause of lost) {
    assert.equal(isAmbiguous(cause), true);
    assert.equal(isAmbiguous(natsError(cause, "do it")), true);
  }
  for (const cause of said) {
    assert.equal(isAmbiguous(cause), false, cause.name);
    assert.equal(isAmbiguous(natsError(cause, "do it")), false, cause.name);
  }
});

Deno.test("settings that the server refuses with status 500 are not tried again; missed heartbeats are", () => {
  const refused = Object.assign(new Error("replicas > 1 not supported"), {
    name: "JetStreamApiError",
    code: 10052,
    status: 500,
  });
  assert.equal(natsError(refused, "make a stream").code, "nats.refused");
  const missed = Object.assign(new Error("heartbeats missed"), { name: "JetStreamError" });
  assert.equal(natsError(missed, "read").code, "nats.unavailable");
});
