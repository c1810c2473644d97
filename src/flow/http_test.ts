import assert from "node:assert/strict";
import { pathOf, queryOf, routeShape } from "./http.ts";

Deno.test("a URL is cut into its path and its query as they were sent", () => {
  const cases: [string, string, string][] = [
    ["http://h:1/a/%2F?x=1&y=/?#z", "/a/%2F", "x=1&y=/?"],
    ["http://h/a#b?c", "/a", ""],
    ["http://h/?", "/", ""],
    ["http://h", "/", ""],
    ["https://h//a", "//a", ""],
  ];
  for (const [url, path, query] of cases) {
    assert.deepEqual([pathOf(url), queryOf(url)], [path, query], url);
  }
});

Deno.test("names of params do not tell two routes apart", () => {
  assert.equal(routeShape("/a/:x/:y/b:c"), "/a/:/:/b:c");
});
