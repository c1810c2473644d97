import assert from "node:assert/strict";
import { compileScript, testEngines, testScripts } from "./testing.ts";

testScripts("isolation none", () => testEngines("none"));
testScripts("isolation process", () => testEngines("process"));

Deno.test({
  name: "a script that may not be caged is refused when it is compiled, not at its first event",
  permissions: { read: true, run: false },
  async fn() {
    await using engines = testEngines("process");
    await assert.rejects(compileScript(engines, "return 1"), {
      code: "script.not_allowed",
      message:
        "Cannot run scripts in a process of their own: the permission to start it is missing",
      hint: `start with --allow-run=${Deno.execPath()}, ` +
        "or trust all authors with scripts.isolation: none",
    });
  },
});
