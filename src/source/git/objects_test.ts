import assert from "node:assert/strict";
import { formatNamed, parseHeaders, SHA1, SHA256 } from "./objects.ts";
import { text } from "./testing.ts";

Deno.test("headers end at the first empty line, and the first of a name counts, as for git", () => {
  const commit = "tree one\nparent a\nparent b\ngpgsig x\n y\n\n z\ntree two\n\ntree three\n";
  const headers = parseHeaders(text(commit));
  assert.equal(headers.get("parent"), "a");
  assert.equal(headers.get("tree"), "one");
  assert.equal(headers.get("gpgsig"), "x\ny");
});

Deno.test("ids are named as the server says", () => {
  assert.equal(formatNamed(undefined, "https://host/flows"), SHA1);
  assert.equal(formatNamed("sha256", "https://host/flows"), SHA256);
  assert.throws(() => formatNamed("sha3", "https://host/flows"), {
    code: "source.not_supported",
    message: 'Cannot read from https://host/flows: its objects are named by "sha3"',
    hint: "use a repository with sha1 or sha256",
  });
});
