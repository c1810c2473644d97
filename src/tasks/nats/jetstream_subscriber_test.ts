import assert from "node:assert/strict";
import * as v from "valibot";
import { type FlowError, FlowErrors } from "../../core/errors.ts";
import { delayAfter, natsJetstreamSubscriber } from "./jetstream_subscriber.ts";

Deno.test("a message that fails comes later each time, as the flow says or up to five minutes", () => {
  const chosen = [10, 20].map((_, at) => delayAfter([10, 20], at + 1, 0.9));
  assert.deepEqual([...chosen, delayAfter([10, 20], 9, 0)], [10, 20, 20]);
  assert.deepEqual([1, 2, 3, 9, 10, 1_000].map((n) => delayAfter(undefined, n, 0.5)), [
    1_000,
    2_000,
    4_000,
    256_000,
    300_000,
    300_000,
  ]);
  assert.deepEqual([0, 0.999].map((chance) => Math.round(delayAfter(undefined, 1, chance))), [
    500,
    1_499,
  ]);
});

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
