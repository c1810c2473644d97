import assert from "node:assert/strict";
import type { FlowError } from "../../core/errors.ts";
import type { Json } from "../../flow/event.ts";
import type { ScriptResult } from "../../flow/script.ts";
import {
  compileScript,
  runScript,
  type TestEngines,
  testEngines,
  testHost,
  type TestScriptOptions,
  testView,
} from "../testing.ts";

const MIB = 1024 * 1024;

/** Milliseconds, for scripts that end by themselves: so much that no busy machine ends them before. */
const AMPLE = 60_000;

function caged(
  sentence: string,
  run: (engines: TestEngines) => Promise<void>,
  timeout = AMPLE,
): void {
  Deno.test(`the cage: ${sentence}`, async () => {
    await using engines = testEngines("process", { limits: { timeout, memory: 64 * MIB } });
    await run(engines);
  });
}

/**
 * What a run came to, or a later one where the machine stood still so long that scripts took too long
 * that do nothing of the kind. A cage that ends innocent ones does so each time.
 */
async function unstalled<T extends Json>(expected: T, run: () => Promise<T>): Promise<T> {
  const late = (fates: Json) => JSON.stringify(fates).split("script.timeout").length;
  for (let left = 5;; left--) {
    const came = await run();
    if (left === 1 || late(came) <= late(expected)) return came;
  }
}

async function value(engines: TestEngines, code: string, options?: TestScriptOptions) {
  const result = await runScript(engines, code, testView({ n: 1 }), options);
  assert.equal(result.kind, "value");
  return result.kind === "value" ? result.value : undefined;
}

/** What each event came to: its value, or the code of its error. */
async function fates(runs: readonly (ScriptResult | Promise<ScriptResult>)[]): Promise<Json[]> {
  const settled = await Promise.allSettled(runs);
  return settled.map((one) => {
    if (one.status === "rejected") return (one.reason as FlowError).code;
    return one.value.kind === "value" ? one.value.value : one.value.kind;
  });
}

const fatal: [string, string, string, string][] = [
  [
    "a loop without end",
    "if (event.data.bad) for (;;); return event.data.n",
    "script.timeout",
    'Script "transform" took longer than 1000 ms',
  ],
  [
    "a flood of microtasks",
    "if (event.data.bad) for (;;) await null; return event.data.n",
    "script.timeout",
    'Script "transform" took longer than 1000 ms',
  ],
  [
    "a promise that never settles",
    "if (event.data.bad) await new Promise(() => {}); return event.data.n",
    "script.timeout",
    'Script "transform" took longer than 1000 ms',
  ],
  [
    "a regular expression that never ends",
    'if (event.data.bad) /(a*)*b/.test("a".repeat(50)); return event.data.n',
    "script.timeout",
    'Script "transform" took longer than 1000 ms',
  ],
  [
    "objects without end",
    "if (event.data.bad) { const l = []; for (;;) l.push({ a: l.length, b: [1] }) } return event.data.n",
    "script.memory",
    'Script "transform" used more memory than it may',
  ],
  [
    "texts without end",
    "if (event.data.bad) { const l = []; for (;;) l.push(JSON.stringify(Array(1e5).fill(l.length))) } return event.data.n",
    "script.memory",
    'Script "transform" used more memory than it may',
  ],
  [
    "a promise chain without end",
    "const f = () => Promise.resolve().then(f); if (event.data.bad) await f(); return event.data.n",
    "script.memory",
    'Script "transform" used more memory than it may',
  ],
  [
    "buffers without end",
    "if (event.data.bad) { const l = []; for (;;) l.push(new Uint8Array(4e6).fill(1)) } return event.data.n",
    "script.memory",
    'Script "transform" used more memory than it may',
  ],
];
for (const [what, code, error, message] of fatal) {
  // Filling memory may take longer than a loop needs to be seen as one.
  const timeout = error === "script.memory" ? AMPLE : 1_000;
  caged(`${what} fails its own event only, in the middle of a batch`, async (engines) => {
    const expected = {
      mine: Array.from({ length: 40 }, (_, n) => n === 17 ? error : n),
      theirs: Array.from({ length: 300 }, (_, n) => -(n + 1)),
      // The flow goes on, and so does the other one.
      later: [5, -5],
    };
    const came = await unstalled(expected, async () => {
      const script = await compileScript(engines, code);
      const other = await compileScript(engines, "return -event.data.n", { flow: "other/flow" });
      const runs = expected.mine.map((_, n) => script.run(testView({ n, bad: n === 17 })));
      const others = expected.theirs.map((_, n) => other.run(testView({ n: n + 1 })));
      const [mine, theirs] = await Promise.all([fates(runs), fates(others)]);
      await assert.rejects(async () => await runs[17], { code: error, message });
      const later = [script.run(testView({ n: 5 })), other.run(testView({ n: 5 }))];
      return { mine, theirs, later: await fates(later) } as typeof expected;
    });
    assert.deepEqual(came, expected);
  }, timeout);
}

caged("recursion without end is an error like any other", async (engines) => {
  await assert.rejects(runScript(engines, "const f = () => f() + 1;\nreturn f()"), {
    code: "script.failed",
    message: "Script failed at line 1: Maximum call stack size exceeded",
  });
});

caged("a result beyond limits.output is refused", async (engines) => {
  await assert.rejects(
    runScript(engines, 'return "ä".repeat(600)', testView({}), { limits: { output: 1_000 } }),
    { code: "script.output_too_large", message: "The script returned more than 1000 bytes" },
  );
  const code = 'return "a".repeat(600)';
  assert.equal(String(await value(engines, code, { limits: { output: 1_000 } })).length, 600);
});

const absent = [
  "Deno",
  "process",
  "require",
  "module",
  "fetch",
  "Worker",
  "WebSocket",
  "console",
  "setTimeout",
  "setInterval",
  "setImmediate",
  "queueMicrotask",
  "structuredClone",
  "performance",
  "navigator",
  "crypto",
  "Buffer",
  "WebAssembly",
  "SharedArrayBuffer",
  "Atomics",
  "FinalizationRegistry",
  "WeakRef",
  "addEventListener",
  "Event",
  "MessageChannel",
  "localStorage",
  "self",
  "window",
  "global",
];
caged("names of the host are not there", async (engines) => {
  const code = `return { found: [${
    absent.map((name) => `typeof ${name}`)
  }].filter((t) => t !== "undefined") }`;
  assert.deepEqual(await value(engines, code), { found: [] });
});

caged("the global object has no prototype and only what the language brings", async (engines) => {
  const code = "return { p: Object.getPrototypeOf(globalThis), " +
    "all: Object.getOwnPropertyNames(globalThis).filter((name) => typeof globalThis[name] === 'object' || typeof globalThis[name] === 'function').every((name) => name === 'globalThis' || globalThis[name] instanceof Object) }";
  assert.deepEqual(await value(engines, code), { p: null, all: true });
});

const evals = [
  '(() => {}).constructor("return this")()',
  'Function("return 1")()',
  'eval("1")',
  '(0, eval)("1")',
  '(async () => {}).constructor("return this")()',
  '(function* () {}).constructor("return this")().next().value',
  '(async function* () {}).constructor("return this")().next()',
  'uuid.constructor("return this")()',
  'render.constructor.constructor("return this")()',
  'print.__proto__.constructor("return this")()',
  'event.constructor.constructor("return this")()',
  'event.data.constructor.constructor("return process")()',
  'ctx.constructor.constructor("return Deno")()',
  'Reflect.construct(Function, ["return 1"])()',
  'new Error().constructor.constructor("return this")()',
  '[].constructor.constructor("return this")()',
  'Reflect.getPrototypeOf(async () => {}).constructor("return 1")()',
];
for (const source of evals) {
  caged(`${source} makes no code`, async (engines) => {
    await assert.rejects(runScript(engines, `return ${source}`), {
      code: "script.failed",
      message: "Script failed at line 1: Code generation from strings disallowed for this context",
    });
  });
}

caged("functions of ctx.cache make no code either", async (engines) => {
  const code = 'return await ctx.cache.get.constructor("return process")()';
  await assert.rejects(runScript(engines, code), {
    code: "script.failed",
    message: "Script failed at line 1: Code generation from strings disallowed for this context",
  });
});

for (
  const url of ["node:fs", "node:process", "npm:chalk", "jsr:@std/fs", "https://example.com/x.js"]
    .concat(
      "data:text/javascript,export default 1",
      "file:///etc/passwd",
      "ext:core/mod.js",
      "./child.ts",
    )
) {
  caged(`import("${url}") is refused`, async (engines) => {
    await assert.rejects(runScript(engines, `const m = await import("${url}"); return m.default`), {
      code: "script.failed",
      message: /^Script failed: A dynamic import callback was not specified|^Script failed at line/,
    });
  });
}

caged("a refused import leaks nothing of the host through its error", async (engines) => {
  const code = 'const e = await import("node:fs").catch((e) => e);\n' +
    "return { own: e instanceof Error, code: e.constructor.constructor === Function }";
  assert.deepEqual(await value(engines, code), { own: true, code: true });
});

const stacks = [
  "Error.prepareStackTrace = (e, frames) => { globalThis.leak = frames; return 1 }",
  "Object.defineProperty(Error, 'prepareStackTrace', { value: (e, f) => { globalThis.leak = f } })",
  "globalThis.Error = class extends Error { static prepareStackTrace(e, f) { globalThis.leak = f } }",
  "Object.defineProperty(globalThis, 'Error', { value: { prepareStackTrace(e, f) { globalThis.leak = f } } })",
  "Object.prototype.prepareStackTrace = Function.prototype.prepareStackTrace = (e, f) => { globalThis.leak = f }",
  "TypeError.prepareStackTrace = (e, f) => { globalThis.leak = f }",
  "Object.setPrototypeOf(Error, { prepareStackTrace(e, f) { globalThis.leak = f } })",
  "Error.stackTraceLimit = Infinity; const o = {}; Error.captureStackTrace(o); o.stack",
];
for (const code of stacks) {
  caged(`no frames of the host come out of ${code}`, async (engines) => {
    const whole = `try { ${code} } catch {}\n` +
      "try { null.x } catch (e) { e.stack } new Error('x').stack; new TypeError('x').stack;\n" +
      "return typeof globalThis.leak";
    assert.equal(await value(engines, whole), "undefined");
  });
}

const thrown: [string, string | RegExp][] = [
  ["throw { get message() { throw 1 } }", "Script failed: what it threw cannot be read"],
  ["throw { message: { toString() { throw 1 } } }", 'Script failed: {"message":{}}'],
  ["throw new Proxy({}, { get() { throw 1 }, getPrototypeOf() { throw 2 } })", /^Script failed/],
  ["throw new Proxy(Error('x'), { get(_, name) { return String(name) } })", /^Script failed/],
  ["throw { toJSON() { return 'sly' } }", 'Script failed: "sly"'],
  ["throw undefined", "Script failed: undefined"],
  ["throw Symbol('s')", "Script failed: Symbol(s)"],
  ["throw Object.create(null)", "Script failed: {}"],
  ["const e = Error('x'); e.stack = { toString() { throw 1 } }; throw e", "Script failed: x"],
  ["const e = Error('x'); Object.defineProperty(e, 'call', { value: 99 }); throw e", /x$/],
  ["throw Error('x'.repeat(1e6))", /^Script failed at line 1: x{1975,}…$/],
];
for (const [code, message] of thrown) {
  caged(
    `${code} ends as text`,
    (engines) =>
      assert.rejects(runScript(engines, `${code}; return 1`), { code: "script.failed", message }),
  );
}

caged(
  "results that answer differently each time come out as JSON or not at all",
  async (engines) => {
    const tricks: [string, Json][] = [
      ["return new Proxy({ a: 1 }, {})", { a: 1 }],
      ["let n = 0; return { get a() { return n++ ? () => 1 : 1 } }", { a: 1 }],
      ["return { toJSON() { return { a: 1 } } }", { a: 1 }],
      ["return { then: 1 }", { then: 1 }],
      [
        "class A extends Array { static get [Symbol.species]() { throw 1 } } const a = new A(); a.x = 1; return { a }",
        { a: [] },
      ],
      ['return { "__proto__": 1, ["__proto__"]: 2 }', JSON.parse('{ "__proto__": 2 }')],
    ];
    for (const [code, expected] of tricks) {
      assert.deepEqual(await fates([runScript(engines, code)]), [expected], code);
    }
    await assert.rejects(runScript(engines, "return { then(f) { f(1) } }"), {
      code: "script.failed",
      message: 'The script returned a function in "then", which is not JSON',
    });
    await assert.rejects(
      runScript(
        engines,
        "return Reflect.ownKeys(new Proxy({}, { ownKeys() { throw new Error('no') } }))",
      ),
      {
        code: "script.failed",
        message: "Script failed at line 1: no",
      },
    );
  },
);

const polluters = [
  "JSON.stringify = () => 'evil'; JSON.parse = () => 'evil'",
  "Object.prototype.toJSON = () => 'evil'",
  "Array.prototype.push = Array.prototype.join = Array.prototype.map = () => 'evil'",
  "Promise.prototype.then = () => { throw 1 }",
  "Object.defineProperty(Array.prototype, '0', { set() { throw 1 }, get() { return 'evil' } })",
  "Object.defineProperty(Object.prototype, 'kind', { set() { throw 1 }, get() { return 'evil' } })",
  "Array.prototype[Symbol.iterator] = function* () { yield 'evil' }",
  "String.prototype.indexOf = String.prototype.slice = RegExp.prototype.exec = () => 'evil'",
  "globalThis.Object = globalThis.Array = globalThis.String = globalThis.JSON = undefined",
  "Object.freeze(globalThis); Object.freeze(Object.prototype)",
  "Function.prototype.call = Function.prototype.apply = () => 'evil'",
  "globalThis.shared = 'evil'; globalThis.uuid = () => 'evil'",
];
for (const code of polluters) {
  caged(`${code} reaches no other flow`, async (engines) => {
    const clean =
      "return { u: typeof uuid(), s: JSON.stringify([1, { a: 1 }]), l: [1].map((x) => x + 1), g: typeof globalThis.shared }";
    const waits = 'await ctx.cache.put("k", [1]); return { k: await ctx.cache.get("k") }';
    const before = await compileScript(engines, clean, { flow: "victim/flow" });
    const expected = { u: "string", s: '[1,{"a":1}]', l: [2], g: "undefined" };
    assert.deepEqual(await fates([before.run(testView({}))]), [expected]);
    // Whatever it does to itself, an answer comes and it is JSON.
    await fates([
      runScript(engines, `${code}; return { a: [1], b: "x" }`, testView({}), { flow: "bad/flow" }),
    ]);
    await fates([runScript(engines, "return [event, 1]", testView({}), { flow: "bad/flow" })]);
    assert.deepEqual(await fates([before.run(testView({}))]), [expected]);
    assert.deepEqual(
      await fates([runScript(engines, waits, testView({}), { flow: "victim/flow" })]),
      [{ k: [1] }],
    );
  });
}

caged("scripts of one flow share their globals, flows do not", async (engines) => {
  const write = await compileScript(engines, "globalThis.seen = 1; return 1", { flow: "a" });
  const read = "return typeof globalThis.seen";
  await write.run(testView({}));
  assert.equal(await value(engines, read, { flow: "a" }), "number");
  assert.equal(await value(engines, read, { flow: "b" }), "undefined");
});

caged("a rejected promise nobody waits for harms nothing", async (engines) => {
  const code = "Promise.reject(new Proxy({}, { get() { throw 1 } })); return 1";
  assert.deepEqual(await fates([runScript(engines, code), runScript(engines, code)]), [1, 1]);
});

caged("a write is not repeated when its event is sent again", async (engines) => {
  const code = 'const n = await ctx.cache.increment("n");\n' +
    "if (event.data.bad) { await ctx.cache.get('x'); for (;;); }\n" +
    "await ctx.cache.get('y'); return n";
  const expected = { culprit: "script.timeout", different: 20, writes: 20 };
  const came = await unstalled<Json>(expected, async () => {
    const host = testHost();
    const script = await compileScript(engines, code, { host });
    const runs = Array.from({ length: 20 }, (_, n) => script.run(testView({ bad: n === 3 })));
    const results = await fates(runs);
    const late = results.filter((result, n) => n !== 3 && result === "script.timeout");
    return {
      culprit: results[3]!,
      different: new Set(results).size,
      writes: host.cache.writes,
      ...(late.length > 0 && { late }),
    };
  });
  assert.deepEqual(came, expected);
}, 1_000);

caged("more flows than contexts all keep working", async (engines) => {
  const scripts = await Promise.all(
    Array.from(
      { length: 80 },
      (_, n) => compileScript(engines, `return ${n} + event.data.n`, { flow: `flow/${n}` }),
    ),
  );
  for (let round = 0; round < 2; round++) {
    const results = await fates(scripts.map((script) => script.run(testView({ n: round }))));
    assert.deepEqual(results, scripts.map((_, n) => n + round));
  }
});

caged("several events that fail in one batch each fail on their own", async (engines) => {
  const code = "if (event.data.n % 10 === 3) for (;;); return event.data.n";
  const expected = Array.from({ length: 30 }, (_, n) => n % 10 === 3 ? "script.timeout" : n);
  const came = await unstalled<Json[]>(expected, async () => {
    const script = await compileScript(engines, code, { limits: { timeout: 200 } });
    return await fates(expected.map((_, n) => script.run(testView({ n }))));
  });
  assert.deepEqual(came, expected);
});

Deno.test("a child that cannot be started is an error to try again", async () => {
  const command = { command: Deno.execPath(), args: () => ["eval", "throw new Error('no room')"] };
  await using engines = testEngines("process", { command });
  const failing = runScript(engines, "return 1");
  await assert.rejects(failing, (cause: FlowError) => {
    assert.equal(cause.code, "script.child_start");
    assert.equal(cause.remedy, "retry");
    assert.match(cause.message, /^Cannot start a process for scripts: .*no room/);
    return true;
  });
});

Deno.test("a child that speaks without the token is ended and its event fails", async () => {
  // Says "ready" as it should, then forges an answer to the first batch.
  const code = `
    const read = async () => { const b = new Uint8Array(65536); const n = await Deno.stdin.read(b); return n === null ? Deno.exit(0) : new TextDecoder().decode(b.subarray(0, n)) };
    const send = (t) => { const b = new TextEncoder().encode(t), f = new Uint8Array(4 + b.length); new DataView(f.buffer).setUint32(0, b.length, true); f.set(b, 4); Deno.stdout.writeSync(f) };
    const token = (await read()).slice(4).split(" ")[1];
    send(token + " ready");
    await read();
    send("forged done 1 0\\n[{\\"v\\":666}]");
    await read();`;
  const command = { command: Deno.execPath(), args: () => ["eval", code] };
  await using engines = testEngines("process", { command });
  await assert.rejects(runScript(engines, "return 1"), {
    code: "script.child_lost",
    message: 'Script "transform" ended the process it ran in',
  });
});

Deno.test("runs still open when the engines end fail and can be tried again", async () => {
  const engines = testEngines("process");
  const script = await compileScript(engines, "for (;;); return 1");
  const run = (async () => await script.run(testView({})))();
  const checked = assert.rejects(
    run,
    (cause: FlowError) => cause.code === "script.child_lost" && cause.remedy === "retry",
  );
  await engines[Symbol.asyncDispose]();
  await checked;
  await assert.rejects(async () => await script.run(testView({})), { code: "script.child_lost" });
});
