import assert from "node:assert/strict";
import { testing } from "../../mod.ts";
import { shout } from "./shout.ts";

Deno.test("shout leaves other fields as they are", () => {
  const out = testing.runTask(shout, {
    config: { field: "name" },
    input: [{ id: 1, name: "Ada" }],
  });
  assert.deepEqual(out, [{ id: 1, name: "ADA" }]);
});

Deno.test("shout names the field that holds no text", () => {
  const run = () => testing.runTask(shout, { config: { field: "name" }, input: [{ name: 7 }] });
  assert.throws(run, { code: "event.field_invalid", message: 'Expected text in "name"' });
});
