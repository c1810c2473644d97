import assert from "node:assert/strict";
import { FlowError } from "../core/errors.ts";
import { delayAfter, isHopeless } from "./redelivery.ts";

Deno.test("what fails comes later each time, as the flow says or up to five minutes", () => {
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

Deno.test("only what is at fault itself is hopeless", () => {
  const hopeless = (code: string) => isHopeless(new FlowError(code, "no"));
  assert.deepEqual(
    ["event.bad", "delivery.timeout", "throttle.limited", "http.unavailable", "nats.refused"]
      .map(hopeless),
    [true, false, false, false, false],
  );
});
