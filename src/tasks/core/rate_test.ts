import assert from "node:assert/strict";
import fc from "fast-check";
import { Rates } from "./rate.ts";

Deno.test("a rate lets as many pass at once as its limit, then one per share of the interval", () => {
  const rates = new Rates(2, 1_000);
  const take = (now: number) => {
    const wait = rates.wait("k", now);
    rates.take("k", now);
    return wait;
  };
  assert.deepEqual([take(0), take(0), take(0), take(0)], [0, 0, 500, 1_000]);
  assert.equal(take(2_500), 0);
});

Deno.test("a rate keeps nothing of keys whose bucket is full again", () => {
  const rates = new Rates(10, 1_000);
  for (let i = 0; i < 100; i++) rates.take(`k${i}`, i);
  rates.sweep(150);
  assert.equal(rates.size, 49);
  rates.sweep(200);
  assert.equal(rates.size, 0);
});

Deno.test("a token that is given back can be taken again", () => {
  const rates = new Rates(1, 1_000);
  rates.take("k", 0);
  rates.giveBack("k", 0);
  assert.deepEqual([rates.wait("k", 0), rates.size], [0, 0]);
});

Deno.test("no stretch of one interval sees more than twice the limit, whoever comes when", () => {
  const gaps = fc.array(fc.integer({ min: 0, max: 400 }), { maxLength: 60 });
  fc.assert(fc.property(gaps, fc.integer({ min: 1, max: 7 }), (gaps, limit) => {
    const rates = new Rates(limit, 1_000);
    const passed: number[] = [];
    let now = 0;
    for (const gap of gaps) {
      now += gap;
      passed.push(now + rates.wait("k", now));
      rates.take("k", now);
    }
    for (const start of passed) {
      const seen = passed.filter((at) => at >= start && at < start + 999).length;
      assert.ok(seen <= 2 * limit, `${seen} in one interval`);
    }
  }));
});
