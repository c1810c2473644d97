import assert from "node:assert/strict";
import * as v from "valibot";
import { type FlowError, FlowErrors } from "../../core/errors.ts";
import { natsJetstreamSubscriber } from "./jetstream_subscriber.ts";

Deno.test("dead letters that nothing would ever go to are a mistake", () => {
  const check = (config: Record<string, unknown>) =>
    natsJetstreamSubscriber.check!({
      config: v.parse(natsJetstreamSubscriber.config, { subject: "a", ...config }),
      locate: () => ({ file: "f", line: 1, column: 1 }),
    } as never);
  assert.throws(() => check({ dead_letter_subject: "dead" }), (cause) => {
    assert.ok(cause instanceof FlowErrors);
    const [{ code, message, hint }] = cause.findings as [FlowError];
    assert.deepEqual([code, message, hint], [
      "config.unused_key",
      'Nothing would ever go to "dead_letter_subject": messages are never given up',
      "add max_deliver, or on_permanent: term",
    ]);
    return true;
  });
  check({ dead_letter_subject: "dead", max_deliver: 3 });
  check({ dead_letter_subject: "dead", on_permanent: "term" });
});
