import assert from "node:assert/strict";
import { type Clock, systemClock } from "../core/clock.ts";
import { FlowError } from "../core/errors.ts";
import { silentLog } from "../core/log.ts";
import type { EventView, Json } from "../flow/event.ts";
import type { Script, ScriptEngines, ScriptHost, ScriptLimits } from "../flow/script.ts";
import type { Entry, Expiry, Key, Store } from "../flow/store.ts";
import { createScriptEngines, type ScriptEngineOptions } from "./mod.ts";

export type TestEngines = ScriptEngines & AsyncDisposable;

/** A store for tests of scripts; `src/store` has the real ones, which this room must not import. */
export class TestStore implements Store {
  readonly entries = new Map<string, Entry & { readonly ttl?: number }>();
  writes = 0;
  /** Throws from every method while set. */
  broken: FlowError | undefined;

  async get(key: Key) {
    this.#check();
    return this.entries.get(key.join("\0")) ?? null;
  }
  async put(key: Key, value: Uint8Array, expiry?: Expiry) {
    this.#check();
    const revision = String(++this.writes);
    this.entries.set(key.join("\0"), { key, value, revision, ttl: expiry?.ttl });
    return revision;
  }
  async create(key: Key, value: Uint8Array, expiry?: Expiry) {
    this.#check();
    return this.entries.has(key.join("\0")) ? null : this.put(key, value, expiry);
  }
  async update(key: Key, value: Uint8Array, seen: string, expiry?: Expiry) {
    const entry = this.entries.get(key.join("\0"));
    return entry?.revision === seen ? this.put(key, value, expiry) : null;
  }
  async delete(key: Key) {
    this.#check();
    return this.entries.delete(key.join("\0"));
  }
  async *list(prefix: Key) {
    this.#check();
    const all = [...this.entries.values()].sort((a, b) => a.key.join() < b.key.join() ? -1 : 1);
    for (const entry of all) if (prefix.every((part, i) => entry.key[i] === part)) yield entry;
  }
  async *watch() {}
  async [Symbol.asyncDispose]() {}

  #check() {
    if (this.broken) throw this.broken;
  }
}

export interface TestHost extends ScriptHost {
  readonly cache: TestStore;
  readonly printed: string[];
}

export function testHost(some: Partial<ScriptHost> = {}): TestHost {
  const printed: string[] = [];
  return {
    cache: new TestStore(),
    resource: async (key) => key === "greeting.txt" ? "hello" : null,
    epoch: 7,
    print: (level, text) => void printed.push(`${level}: ${text}`),
    printed,
    ...some,
  } as TestHost;
}

export function testView(data: Json, more: Partial<EventView> = {}): EventView {
  const meta = { correlation_id: "c-1" };
  return { subject: "reader", data, id: "id-1", timestamp: 1, meta, error: null, ...more };
}

export function testEngines(
  isolation: "process" | "none",
  more: Partial<ScriptEngineOptions> = {},
): TestEngines {
  const clock: Clock = systemClock;
  return createScriptEngines({
    isolation,
    defaultLanguage: "js",
    children: 1,
    // A machine that stands still for seconds shall not end scripts; tests of deadlines have their own.
    limits: { timeout: 60_000 },
    clock,
    log: silentLog,
    ...more,
  });
}

export interface TestScriptOptions {
  readonly flow?: string;
  readonly task?: string;
  readonly language?: "js" | "ts";
  readonly host?: ScriptHost;
  readonly limits?: Partial<ScriptLimits>;
}

/** Compiles one script, as flow `test/flow` and task `transform` unless told. */
export function compileScript(
  engines: ScriptEngines,
  code: string,
  { flow = "test/flow", task = "transform", language = "js", host = testHost(), limits }:
    TestScriptOptions = {},
): Promise<Script> {
  return engines.compile({ code, language, flow, task, limits }, host);
}

/** Compiles, runs once and gives what came of it. */
export async function runScript(
  engines: ScriptEngines,
  code: string,
  view: EventView = testView({ n: 1 }),
  options: TestScriptOptions = {},
) {
  const script = await compileScript(engines, code, options);
  try {
    return await script.run(view);
  } finally {
    await script[Symbol.asyncDispose]();
  }
}

/** What every isolation promises, asked in one place. `open` gives new engines for each test. */
export function testScripts(name: string, open: () => TestEngines): void {
  const test = (sentence: string, run: (engines: TestEngines) => Promise<void>) =>
    Deno.test(`${name}: ${sentence}`, async () => {
      await using engines = open();
      await run(engines);
    });
  const value = async (engines: TestEngines, code: string, data: Json = { n: 1 }) => {
    const result = await runScript(engines, code, testView(data));
    assert.equal(result.kind, "value");
    return result.kind === "value" ? result.value : undefined;
  };
  const fails = async (engines: TestEngines, code: string, expected: object) =>
    await assert.rejects(async () => await runScript(engines, code), expected);

  test("an object or a scalar is the next data", async (engines) => {
    assert.deepEqual(await value(engines, "return { a: event.data.n + 1 }"), { a: 2 });
    assert.equal(await value(engines, 'return "text"'), "text");
    assert.equal(await value(engines, "return false"), false);
  });

  test("fields named data, subject and id are data like any other", async (engines) => {
    const code = "return { data: 1, subject: 's', id: 'i' }";
    assert.deepEqual(await value(engines, code), { data: 1, subject: "s", id: "i" });
  });

  test("returning the event passes it on, with what the script wrote", async (engines) => {
    const same = await runScript(engines, "return event");
    assert.equal(same.kind, "event");
    if (same.kind !== "event") return;
    const { data, subject, id } = same.event;
    assert.deepEqual({ data, subject, id }, { data: { n: 1 }, subject: "reader", id: "id-1" });
    const code = 'event.data.n++; event.subject = "other"; event.id = null; return event';
    const view = testView({ n: 1 });
    const changed = await runScript(engines, code, view);
    assert.deepEqual(changed, {
      kind: "event",
      event: { data: { n: 2 }, subject: "other", id: null },
      ...("meta" in changed && { meta: undefined }),
    });
    assert.deepEqual(view, testView({ n: 1 }), "the event itself stays as it was");
  });

  const writers = [
    "event.data.list.push(3); return event.data.list.length",
    "const d = event.data; d.n = 9; return d.n",
    "for (event.data.n of [4]); return event.data.n",
    "[event.data.n] = [5]; return 1",
    "({ a: event.data.n } = { a: 5 }); return 1",
    "Object.assign(event.data, { x: 1 }); return 1",
    "delete event.data.n; return 1",
    "const m = 'push'; event.data.list[m](3); return 1",
    "event.data.list.forEach((_, i, all) => { all[i] = 0 }); return 1",
    "++event.data.n; return 1",
    "Object.freeze(event.data); return 1",
    "event.meta.extra = 1; return 1",
    "ctx.meta.extra = 1; return 1",
    "class A { constructor(o) { return o } } class B extends A { x = 1 } new B(event.data); return 1",
    "const f = Object.defineProperty; f(event.data, 'x', { value: 1 }); return 1",
    "event.data.n ||= 2; event.data.n **= 2; return 1",
    "if (event) /'/.test(event.data.n = 1, \"'\"); return 1",
    "let x = 1; x++ / (event.data.n = 7) / 2; return 1",
    "(event.data.list['so' + 'rt'])((a, b) => b - a); return 1",
  ];
  for (const code of writers) {
    test(`the original survives ${code}`, async (engines) => {
      const view = testView({ n: 1, list: [1, 2] });
      const before = JSON.stringify(view);
      const frozen = [view, view.data as object, view.meta].some(Object.isFrozen);
      await runScript(engines, code, view);
      assert.equal(JSON.stringify(view), before);
      assert.equal([view, view.data as object, view.meta].some(Object.isFrozen), frozen);
    });
  }

  test("an array becomes one event per element, null among them", async (engines) => {
    const list = await runScript(engines, "return [1, null, { a: 1 }, event]");
    assert.equal(list.kind, "list");
    if (list.kind !== "list") return;
    const items = list.items.map((item) =>
      "value" in item ? item.value : `event ${item.event.subject}`
    );
    assert.deepEqual(items, [1, null, { a: 1 }, "event reader"]);
    const none = await runScript(engines, "return []");
    assert.deepEqual(none.kind === "list" && none.items, []);
  });

  test("null drops the event", async (engines) => {
    assert.deepEqual(await runScript(engines, "return null"), { kind: "drop" });
  });

  test("no result at all is an error that says what to write", async (engines) => {
    await fails(engines, "if (event.data.n > 5) return 1", {
      code: "script.no_result",
      message: "The script ended without returning anything",
      hint: 'return a value, "event" to pass it on, or "null" to drop it on purpose',
    });
  });

  test("results mean what JSON makes of them", async (engines) => {
    const code = "return { n: NaN, i: -Infinity, u: undefined, d: new Date(0), l: [undefined], " +
      "get g() { return 1 }, t: { toJSON() { return 2 } } }";
    assert.deepEqual(await value(engines, code), {
      n: null,
      i: null,
      d: "1970-01-01T00:00:00.000Z",
      l: [null],
      g: 1,
      t: 2,
    });
    assert.equal(await value(engines, "return NaN"), null);
  });

  const unreadable: [string, string][] = [
    ["return { f() {} }", 'The script returned a function in "f", which is not JSON'],
    ["return () => 1", "The script returned a function, which is not JSON"],
    ["return Symbol('x')", "The script returned a symbol, which is not JSON"],
    ["return { a: { b: 1n } }", 'The script returned a BigInt in "b", which is not JSON'],
    ["const a = {}; a.a = a; return a", "The script returned an object that contains itself"],
  ];
  for (const [code, message] of unreadable) {
    test(`${code} is refused`, (engines) =>
      fails(engines, code, { code: "script.failed", message }));
  }

  test("what a script throws is told with its line", async (engines) => {
    await fails(engines, "const a = null;\n\nreturn a.x", {
      code: "script.failed",
      message: "Script failed at line 3: Cannot read properties of null (reading 'x')",
    });
    await fails(engines, 'throw "plain"; return 1', {
      code: "script.failed",
      message: "Script failed: plain",
    });
    await fails(engines, "await 1;\nthrow new Error('late'); return 1", {
      code: "script.failed",
      message: "Script failed at line 2: late",
    });
    await fails(engines, "return parse_json('{')", {
      code: "script.failed",
      message: /^Script failed at line 1: Cannot parse JSON: /,
    });
  });

  test("types are stripped and keep every line in place", async (engines) => {
    const code =
      "interface A { n: number }\nconst d = event.data as A;\nreturn d.n satisfies number;";
    const result = await runScript(engines, code, testView({ n: 3 }), { language: "ts" });
    assert.deepEqual(result.kind === "value" && result.value, 3);
    const bad = "type T = string;\nconst t: T = event.data.none.x;\nreturn t";
    await assert.rejects(
      async () => await runScript(engines, bad, testView({}), { language: "ts" }),
      { message: "Script failed at line 2: Cannot read properties of undefined (reading 'x')" },
    );
  });

  test("check finds syntax errors, missing returns and absent engines", async (engines) => {
    const check = (code: string, language: "js" | "ts" | "rhai" = "js") => () =>
      engines.check({ code, language, flow: "f", task: "t" });
    assert.throws(check("const a = 1;\nconst b = ;\nreturn b"), {
      code: "script.syntax",
      message: "Cannot read the script: Unexpected token ';'",
      position: { file: "", line: 2, column: 11 },
    });
    assert.throws(check("return 1 }); more(); (function () {"), { code: "script.syntax" });
    assert.throws(check("const t = 'return'; // return"), {
      code: "script.no_return",
      hint:
        'add a return, such as "return event.data", or set "engine: rhai", where the last value counts',
      position: { file: "", line: 1, column: 1 },
    });
    assert.throws(check("enum A { B }\nreturn 1", "ts"), {
      code: "script.syntax",
      message: "TypeScript enum is not supported in strip-only mode",
      position: { file: "", line: 1, column: 1 },
    });
    assert.throws(check("1", "rhai"), {
      code: "script.engine_unavailable",
      message: "engine rhai is not available in this version",
    });
    check("throw new Error('check runs nothing'); return 1")();
  });

  test("ctx.meta comes back when the script changed it", async (engines) => {
    const changed = await runScript(engines, "ctx.meta.seen = true; return 1");
    assert.deepEqual(changed, {
      kind: "value",
      value: 1,
      meta: { correlation_id: "c-1", seen: true },
    });
    const read = await runScript(engines, "return ctx.meta.correlation_id");
    assert.equal("meta" in read && read.meta !== undefined, false);
    const broken = await runScript(engines, "ctx.meta = 5; return 1");
    assert.equal("meta" in broken && broken.meta !== undefined, false);
  });

  test("ctx.cache keeps JSON and counts by compare-and-set", async (engines) => {
    const host = testHost();
    const code = `
      await ctx.cache.put("b", { deep: [1] }, 60);
      const first = await ctx.cache.create("a", "x");
      const second = await ctx.cache.create("a", "y");
      await ctx.cache.increment("n");
      const n = await ctx.cache.increment("n", 4);
      const keys = await ctx.cache.list_keys("");
      const gone = await ctx.cache.delete("a");
      return [first, second, n, keys, gone, await ctx.cache.get("a"), await ctx.cache.get("b")];`;
    const result = await runScript(engines, code, testView({}), { host });
    const items = result.kind === "list" &&
      result.items.map((item) => "value" in item && item.value);
    assert.deepEqual(items, [true, false, 5, ["a", "b", "n"], true, null, { deep: [1] }]);
    const { value: bytes, ttl } = host.cache.entries.get("b")!;
    assert.equal(ttl, 60_000);
    // Version 1, then `J` for JSON.
    assert.equal(new TextDecoder().decode(bytes), '\x01J{"deep":[1]}');
  });

  test("a value in the cache that we did not write is told, not guessed at", async (engines) => {
    const host = testHost();
    await host.cache.put(["k"], new TextEncoder().encode('{"deep":[1]}'));
    await assert.rejects(
      async () =>
        await runScript(engines, 'return await ctx.cache.get("k")', testView({}), { host }),
      { code: "store.record_invalid", message: 'Cannot read the value of "k"' },
    );
  });

  test("increments at the same time all count", async (engines) => {
    const host = testHost();
    const script = await compileScript(engines, 'return await ctx.cache.increment("n")', { host });
    const results = await Promise.all(
      Array.from({ length: 50 }, async () => await script.run(testView({}))),
    );
    const numbers = results.map((result) => result.kind === "value" ? result.value as number : -1);
    assert.deepEqual(
      numbers.sort((a, b) => a - b),
      Array.from({ length: 50 }, (_, i) => i + 1),
    );
  });

  test("a write nobody awaited is committed before the result", async (engines) => {
    const host = testHost();
    await runScript(engines, 'ctx.cache.put("k", 1); return 1', testView({}), { host });
    assert.equal(host.cache.writes, 1);
  });

  test("a failing store fails the event as the store does, so that it is tried again", async (engines) => {
    const host = testHost();
    host.cache.broken = new FlowError("store.unavailable", "The store is away");
    for (const code of ['ctx.cache.put("k", 1); return 1', 'return await ctx.cache.get("k")']) {
      await assert.rejects(
        async () => await runScript(engines, code, testView({}), { host }),
        { code: "store.unavailable", message: "The store is away" },
      );
    }
    const caught = 'try { await ctx.cache.get("k") } catch (e) { return e.message }';
    const result = await runScript(engines, caught, testView({}), { host });
    assert.deepEqual(result.kind === "value" && result.value, "The store is away");
  });

  test("wrong arguments to ctx.cache are told", async (engines) => {
    await fails(engines, 'return await ctx.cache.get("")', {
      code: "script.failed",
      message: "ctx.cache.get expects a key, which is text and not empty",
    });
  });

  const ttls = ["-1", "0", "NaN", "Infinity", "1e16", "1e308", '"60"', "{}"];
  for (const ttl of ttls) {
    test(`a ttl of ${ttl} is refused`, async (engines) => {
      for (const op of ["put", "create", "increment"]) {
        await fails(engines, `return await ctx.cache.${op}("k", 1, ${ttl})`, {
          code: "script.failed",
          message:
            `ctx.cache.${op} expects its ttl in seconds, greater than 0 and at most 3155760000`,
        });
      }
    });
  }

  test("a ttl that is undefined or null is left out", async (engines) => {
    const host = testHost();
    const code = 'await ctx.cache.put("a", 1, undefined); return await ctx.cache.put("b", 1, null)';
    await runScript(engines, code, testView({}), { host });
    assert.deepEqual([...host.cache.entries.values()].map(({ ttl }) => ttl), [
      undefined,
      undefined,
    ]);
  });

  test("a script whose event is over writes nothing more", async (engines) => {
    const asked = Promise.withResolvers<void>();
    const gate = Promise.withResolvers<string>();
    const host = testHost({ resource: () => (asked.resolve(), gate.promise) });
    const code = 'if (event.data.waits) await ctx.resource.get("gate");\n' +
      "await ctx.cache.put(event.data.key, 1); return 1";
    const script = await compileScript(engines, code, { host });
    const abort = new AbortController();
    const aborted =
      (async () => await script.run(testView({ waits: true, key: "late" }), abort.signal))();
    await asked.promise;
    abort.abort(new Error("enough"));
    gate.resolve("open");
    await assert.rejects(aborted, { message: "enough" });
    // By the time another event is done, the first script has gone on as far as it can.
    await script.run(testView({ waits: false, key: "k" }));
    assert.deepEqual([...host.cache.entries.keys()], ["k"]);
  });

  test("ctx.resource and ctx.epoch are there", async (engines) => {
    const code =
      'return { a: await ctx.resource.get("greeting.txt"), b: await ctx.resource.get("x"), e: ctx.epoch }';
    assert.deepEqual(await value(engines, code), { a: "hello", b: null, e: 7 });
  });

  test("print and debug reach the log", async (engines) => {
    const host = testHost();
    await runScript(engines, 'print("one"); debug({ two: 2 }); return 1', testView({}), { host });
    assert.deepEqual(host.printed, ["info: one", 'debug: {"two":2}']);
  });

  const calls: [string, Json][] = [
    ['parse_json("[1]").length', 1],
    ['parse_yaml("a:\\n  - 1\\n  - b: x")', { a: [1, { b: "x" }] }],
    ['parse_timestamp("2030-01-01T00:00:00.5Z")', 1893456000500],
    ['parse_rfc2822_timestamp("Tue, 01 Jan 2030 00:00:00 +0000")', 1893456000000],
    ["timestamp_now() > 1700000000", true],
    ["timestamp_to_iso(1893456000)", "2030-01-01T00:00:00Z"],
    ['timestamp_format(1893456000, "%d/%m/%Y %H:%M %a")', "01/01/2030 00:00 Tue"],
    ["timestamp_to_year(1893456000)", 2030],
    ["timestamp_to_month(1893456000)", 1],
    ["timestamp_to_day(1893456000)", 1],
    ["timestamp_to_hour(1893456000)", 0],
    ["timestamp_to_hive_path(1893456000)", "year=2030/month=01/day=01/hour=00"],
    ["timestamp_round_to_hour(1893459599)", 1893456000],
    ["/^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/.test(uuid())", true],
    ['sha256("abc")', "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"],
    ['sha512("abc").slice(0, 32)', "ddaf35a193617abacc417349ae204131"],
    ['regex_match("ab1", "\\\\d")', true],
    ['regex_replace("a1b2", "(\\\\d)", "<$1>")', "a<1>b<2>"],
    ['regex_find("ab12c", "\\\\d+")', "12"],
    ['regex_find("abc", "\\\\d+")', ""],
    [
      'render("{{a.b}} {{{c}}} {{#each l}}{{this}};{{else}}none{{/each}}", { a: { b: "<" }, c: "<", l: [1, 2] })',
      "&lt; < 1;2;",
    ],
  ];
  for (const [call, expected] of calls) {
    test(`${call} works`, async (engines) => {
      // A list would become events.
      const result = await value(engines, `return { it: ${call} }`) as { it: Json };
      assert.deepEqual(result.it, expected);
    });
  }

  test("a script that has ended for its flow can be compiled again", async (engines) => {
    for (let i = 0; i < 3; i++) assert.equal(await value(engines, `return ${i}`), i);
  });

  test("an aborted run ends with the reason of its signal", async (engines) => {
    const script = await compileScript(engines, "await new Promise(() => {}); return 1");
    const abort = new AbortController();
    const run = (async () => await script.run(testView({}), abort.signal))();
    abort.abort(new Error("enough"));
    await assert.rejects(run, { message: "enough" });
  });

  test("a promise that never settles ends at the deadline", async (engines) => {
    const limits = { timeout: 100 };
    const code = "await new Promise(() => {}); return 1";
    await assert.rejects(async () => await runScript(engines, code, testView({}), { limits }), {
      code: "script.timeout",
      message: 'Script "transform" took longer than 100 ms',
    });
  });
}
