import assert from "node:assert/strict";
import { testEvent } from "./testing.ts";
import { castNumber, textField } from "./field.ts";
import { isMap, kindOf } from "./kind.ts";

Deno.test("values are called by one set of names, and only objects of JSON are maps", () => {
  const cases: [unknown, string][] = [
    [undefined, "nothing"],
    [null, "null"],
    [new Uint8Array(1), "bytes"],
    [[], "a list"],
    ["", "text"],
    [0, "a number"],
    [false, "true or false"],
    [{}, "an object"],
  ];
  for (const [value, name] of cases) {
    assert.equal(kindOf(value), name);
    assert.equal(isMap(value), name === "an object");
  }
});

Deno.test("a template that gives another kind of value says which", () => {
  const field = textField("{{event.data}}", castNumber);
  assert.throws(() => field.at(testEvent({})), {
    code: "template.cast",
    message: 'Cannot make a number of "{{event.data}}": it gave an object',
  });
});
