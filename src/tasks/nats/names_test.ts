import assert from "node:assert/strict";
import * as v from "valibot";
import { covers, isSubject, NatsName, sharedName, SubjectPattern } from "./names.ts";

Deno.test("replicas share a name made of flow and task", async () => {
  assert.equal(await sharedName("orders", "read"), "orders_read");
  assert.match(await sharedName("shop/orders.eu", "read"), /^shop_orders_eu_read-[0-9a-f]{8}$/);
});

Deno.test("no two flows share a name by accident", async () => {
  const pairs = [["a/b", "c"], ["a_b", "c"], ["a", "b_c"], ["a.b", "c"], ["a-b", "c"]] as const;
  const names = await Promise.all(pairs.map(([flow, task]) => sharedName(flow, task)));
  assert.equal(new Set(names).size, pairs.length);
  const long = "x".repeat(400);
  assert.notEqual(await sharedName(long, "a"), await sharedName(long, "b"));
  assert.ok((await sharedName(long, "a")).length < 255);
});

Deno.test("subjects are parts with dots between them", () => {
  const fits = (text: string) => v.safeParse(SubjectPattern, text).success;
  for (const good of ["a", "a.b", "a.*.c", "a.>", ">", "$x.-_"]) assert.ok(fits(good), good);
  for (const bad of ["", ".a", "a.", "a..b", "a b", "a.>.b", "a\n"]) assert.ok(!fits(bad), bad);
  assert.ok(isSubject("a.b"));
  for (const bad of ["a.*", "a.>", "", "a. "]) assert.ok(!isSubject(bad), bad);
});

Deno.test("names of streams and consumers have no characters that mean something", () => {
  const fits = (text: string) => v.safeParse(NatsName, text).success;
  assert.ok(fits("ORDERS_2-x"));
  for (const bad of ["", "a.b", "a b", "a*", ">", "a/b", "a\\b", "x".repeat(256)]) {
    assert.ok(!fits(bad), bad);
  }
});

Deno.test("a subject covers those that it matches all of", () => {
  const yes = [
    ["a", "a"],
    ["*", "a"],
    [">", "a.b"],
    ["a.>", "a.b.c"],
    ["a.>", "a.*"],
    ["*.b", "*.b"],
    [
      ">",
      ">",
    ],
    ["a.*", "a.b"],
    ["a.>", "a.>"],
  ];
  const no = [
    ["a", "b"],
    ["a", "a.b"],
    ["a.b", "a"],
    ["a.>", "a"],
    ["a.*", "a.>"],
    ["a.b", "a.*"],
    [
      "*",
      "a.b",
    ],
  ];
  for (const [wide, narrow] of yes) assert.ok(covers(wide!, narrow!), `${wide} ${narrow}`);
  for (const [wide, narrow] of no) assert.ok(!covers(wide!, narrow!), `${wide} ${narrow}`);
});
