import assert from "node:assert/strict";
import { compileScript, runScript, testEngines, testScripts, testView } from "./testing.ts";

testScripts("isolation none", () => testEngines("none"));
testScripts("isolation process", () => testEngines("process"));

for (const isolation of ["process", "none"] as const) {
  Deno.test(`isolation ${isolation}: a task cannot go beyond the operator's limits`, async () => {
    await using engines = testEngines(isolation, { limits: { timeout: 100 } });
    const code = "await new Promise(() => {}); return 1";
    const run = () => runScript(engines, code, testView({}), { limits: { timeout: 9_000 } });
    await assert.rejects(run, {
      code: "script.timeout",
      message: 'Script "transform" took longer than 100 ms',
    });
  });
}

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
