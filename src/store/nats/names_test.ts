import assert from "node:assert/strict";
import * as fc from "fast-check";
import { checkKey } from "../../flow/key.ts";
import { keyOfWire, wireName, wiresBelow } from "./names.ts";

Deno.test("flows and resources have plain names, other rooms dotted ones", () => {
  const names: [key: string[], wire: string][] = [
    [["flows", "demo/reader.v2"], "flows.demo/reader.v2"],
    [["flows", "a=20b"], "flows.a=20b"],
    [["resources", "queries/x.sql"], "resources.queries/x.sql"],
    [["flows"], "flows"],
    // What cannot be written plainly, or has more parts, must not look like another key.
    [["flows", "two words"], "=flows.two=20words"],
    [["flows", ".hidden"], "=flows.=2Ehidden"],
    [["flows", "a..b"], "=flows.a=2E=2Eb"],
    [["flows", "a", "b"], "=flows.a.b"],
    [["cluster", "nodes", "a.b"], "cluster.nodes.a=2Eb"],
    [["=flows", "a"], "=3Dflows.a"],
    [["ä", "\ud800", "\ufeff"], "=C3=A4.=uD800.=EF=BB=BF"],
  ];
  for (const [key, wire] of names) {
    assert.equal(wireName(key), wire);
    assert.deepEqual(keyOfWire(wire), key);
  }
});

Deno.test("a name that no key has is none", () => {
  const none = [
    "a..b",
    "=parts.1.0.a",
    "a=zz",
    "=c3=A4",
    "=C3",
    "=41",
    "=u0041",
    "=flows.a",
    "=flows",
  ];
  for (const wire of none) assert.equal(keyOfWire(wire), null, wire);
});

Deno.test("what is below a prefix is found by its wires", () => {
  assert.deepEqual(wiresBelow([]), [">"]);
  assert.deepEqual(wiresBelow(["a", "b.c"]), ["a.b=2Ec.>"]);
  assert.deepEqual(wiresBelow(["flows"]), ["flows.>", "=flows.>"]);
  assert.deepEqual(wiresBelow(["flows", "a.b"]), ["=flows.a=2Eb.>"]);
});

Deno.test("every key has a name of its own that the server takes", () => {
  const room = fc.constantFrom("flows", "resources", "=flows", "=parts", "a");
  const part = fc.oneof(
    fc.string({ unit: "binary", minLength: 1 }),
    fc.string({ minLength: 1 }),
    room,
  );
  const key = fc.array(part, { minLength: 1, maxLength: 4 });
  fc.assert(fc.property(key, key, (a, b) => {
    checkKey(a);
    const wire = wireName(a);
    assert.match(wire, /^[-/_=a-zA-Z0-9]+(\.[-/_=a-zA-Z0-9]+)*$/);
    assert.deepEqual(keyOfWire(wire), a);
    if (wire === wireName(b)) assert.deepEqual(a, b);
  }));
});
