import assert from "node:assert/strict";
import { FlowError } from "../../core/errors.ts";
import type { FlowEvent, Json } from "../../flow/event.ts";
import type { ScriptEngines, ScriptResult, ScriptSource } from "../../flow/script.ts";
import { testCall, testContext, testEvent } from "../../flow/testing.ts";
import { MemoryStore } from "../../store/memory.ts";
import { TestClock } from "../../core/clock.ts";
import { filter } from "./filter.ts";
import { script } from "./script.ts";
import { findingsOf } from "./testing.ts";

/** An engine that notes what it compiles and answers what it is told to. */
function fakeEngines(given: {
  result?: ScriptResult;
  sync?: boolean;
  error?: FlowError;
}): ScriptEngines & { sources: ScriptSource[]; disposed: number } {
  const engines = {
    defaultLanguage: "js" as const,
    sources: [] as ScriptSource[],
    disposed: 0,
    check(source: ScriptSource) {
      engines.sources.push(source);
      if (given.error) throw given.error;
    },
    async compile(source: ScriptSource) {
      engines.check(source);
      const result = given.result ?? { kind: "value", value: true } as const;
      return {
        sync: given.sync ?? false,
        run: () => given.sync ? result : Promise.resolve(result),
        async [Symbol.asyncDispose]() {
          engines.disposed++;
        },
      };
    },
  };
  return engines;
}

async function run(config: unknown, data: Json, scripts = fakeEngines({})) {
  const runtimeStore = new MemoryStore({ clock: new TestClock() });
  const context = testContext(filter, config, { services: { scripts, runtimeStore } });
  const step = await filter.create(context);
  const event = testEvent(data);
  const out: unknown[] = [];
  if ("sync" in step) step.sync(event, (one) => out.push(one), testCall(() => {}));
  else {
    const output = await step.async(event, testCall(() => {}));
    if (output) out.push(output as FlowEvent);
  }
  for (const close of context.closers) await close();
  assert.ok(out.every((one) => one === event), "passes on the very event it got");
  return { passed: out.length === 1, waits: "async" in step };
}

const value = (value: Json): ScriptResult => ({ kind: "value", value });

Deno.test("filter passes an event whose condition is true, and drops one where it is false", async () => {
  for (const [ok, passed] of [[true, true], ["true", true], [false, false], ["false", false]]) {
    const config = { condition: "{{event.data.ok}}" };
    assert.deepEqual(await run(config, { ok } as Json), { passed, waits: false });
  }
});

Deno.test("filter does not guess what other values mean", async () => {
  for (const ok of [1, 0, "yes", "", null, []]) {
    await assert.rejects(run({ condition: "{{event.data.ok}}" }, { ok }), {
      code: "template.cast",
    });
  }
  await assert.rejects(run({ condition: "{{event.data.ok}}" }, {}), {
    code: "template.missing_path",
  });
});

Deno.test("filter goes by true and false of its script, waiting only if the engine does", async () => {
  for (const sync of [true, false]) {
    for (const answer of [true, false]) {
      const scripts = fakeEngines({ result: value(answer), sync });
      assert.deepEqual(await run({ script: "event.data.n > 1" }, {}, scripts), {
        passed: answer,
        waits: !sync,
      });
      assert.equal(scripts.disposed, 1);
    }
  }
});

Deno.test("filter says what its script gave in place of true or false", async () => {
  const cases: [ScriptResult, string][] = [
    [value("true"), "text"],
    [value(1), "a number"],
    [{ kind: "drop" }, "null"],
    [{ kind: "list", items: [] }, "a list"],
    [{ kind: "event", event: { data: 1, subject: "s", id: null } }, "the event"],
  ];
  for (const [result, got] of cases) {
    await assert.rejects(run({ script: "x" }, {}, fakeEngines({ result })), {
      code: "event.not_boolean",
      message: `Expected true or false from the script, got ${got}`,
    });
  }
});

Deno.test("filter makes a function body of an expression, and leaves bodies and rhai alone", async () => {
  const compiled = async (config: unknown) => {
    const scripts = fakeEngines({});
    await run(config, {}, scripts);
    return scripts.sources[0]!;
  };
  const codes: [object, string][] = [
    [{ script: "a > 1;\n" }, "return (a > 1\n)"],
    [{ script: "a > 1 // why" }, "return (a > 1 // why\n)"],
    [{ script: "if (a) return true; return b" }, "if (a) return true; return b"],
    [{ script: "a > 1", engine: "rhai" }, "a > 1"],
  ];
  for (const [config, code] of codes) assert.equal((await compiled(config)).code, code);
  assert.equal((await compiled({ script: "a", engine: "ts" })).language, "ts");
});

Deno.test("a resource's extension decides about the language", async () => {
  const scripts = fakeEngines({});
  const bytes = new TextEncoder().encode("a > 1");
  const resources = { read: async () => ({ file: "x", bytes }) };
  const config = { script: { resource: "filters/big.rhai" } };
  await findingsOf(filter, config, { scripts, resources });
  assert.deepEqual([scripts.sources[0]!.language, scripts.sources[0]!.code], ["rhai", "a > 1"]);
});

Deno.test("errors in an expression point to where it stands in the flow file", async () => {
  const error = new FlowError("script.syntax", "Unexpected token", {
    position: { file: "", line: 1, column: 12 },
  });
  const scripts = fakeEngines({ error });
  await assert.rejects(run({ script: "a > > 1" }, {}, scripts), {
    code: "script.syntax",
    position: { file: "test.yaml", line: 1, column: 4 },
  });
  await assert.rejects(run({ script: "return a > > 1" }, {}, scripts), {
    position: { file: "test.yaml", line: 1, column: 12 },
  });
});

Deno.test("filter has as many events on their way as script, so that batches fill", () => {
  assert.equal(filter.concurrency, 1024);
  assert.equal(script.concurrency, filter.concurrency);
});

Deno.test("filter wants a condition or a script, not both", async () => {
  const findings = (config: unknown) => findingsOf(filter, config, { scripts: fakeEngines({}) });
  assert.deepEqual(await findings({ condition: true }), []);
  assert.deepEqual(await findings({ script: "a" }), []);
  assert.deepEqual(await findings({ engine: "js" }), [
    'config.missing_key Expected "condition" or "script"',
    'config.unused_key "engine" has a meaning with "script" only',
  ]);
  assert.deepEqual(await findings({ condition: true, script: "a" }), [
    'config.conflicting_keys Cannot use "condition" with "script"',
  ]);
  const error = new FlowError("script.syntax", "Unexpected token");
  const scripts = fakeEngines({ error });
  assert.deepEqual(await findingsOf(filter, { script: "a a" }, { scripts }), [
    "script.syntax Unexpected token",
  ]);
});
