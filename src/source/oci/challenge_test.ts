import assert from "node:assert/strict";
import { parseChallenges } from "./challenge.ts";

function read(header: string | null): [string, Record<string, string>][] {
  return parseChallenges(header).map(({ scheme, params }) => [scheme, Object.fromEntries(params)]);
}

Deno.test("challenges have schemes and parameters, quoted or not", () => {
  assert.deepEqual(
    read('Bearer realm="https://a.b/token",service="reg",scope="repository:x:pull,push"'),
    [["bearer", {
      realm: "https://a.b/token",
      service: "reg",
      scope: "repository:x:pull,push",
    }]],
  );
  assert.deepEqual(read('BASIC Realm = "a \\"b\\", c"'), [["basic", { realm: 'a "b", c' }]]);
  assert.deepEqual(read('Negotiate, Basic realm=x, charset="UTF-8", Bearer realm="y"'), [
    ["negotiate", {}],
    ["basic", { realm: "x", charset: "UTF-8" }],
    ["bearer", { realm: "y" }],
  ]);
  assert.deepEqual(read(null), []);
  assert.deepEqual(read('="'), []);
  // Hundreds of thousands of letters would keep the patterns busy for minutes.
  assert.deepEqual(read(`Bearer a=b,${" ".repeat(9_000)}Basic`), [["bearer", { a: "b" }]]);
});
