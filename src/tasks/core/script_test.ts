import assert from "node:assert/strict";
import * as v from "valibot";
import { type Data, type FlowEvent, isBytes } from "../../flow/event.ts";
import type {
  Script,
  ScriptEngines,
  ScriptHost,
  ScriptResult,
  ScriptSource,
} from "../../flow/script.ts";
import type { Services } from "../../flow/services.ts";
import type { Store } from "../../flow/store.ts";
import type { CheckContext } from "../../flow/task.ts";
import { FlowError } from "../../core/errors.ts";
import { outputs, testCall, testContext, testEvent } from "../../flow/testing.ts";
import { script } from "./script.ts";

/**
 * Engines that answer what the test says. The real ones live in a neighbouring room and are tested
 * there; `tests/` runs both together.
 */
class FakeEngines implements ScriptEngines {
  readonly defaultLanguage = "js";
  source: ScriptSource | undefined;
  host: ScriptHost | undefined;
  closed = 0;
  constructor(
    readonly answer: (view: Parameters<Script["run"]>[0]) => ScriptResult,
    readonly sync = true,
    readonly finding?: FlowError,
  ) {}
  check(source: ScriptSource) {
    this.source = source;
    if (this.finding) throw this.finding;
  }
  async compile(source: ScriptSource, host: ScriptHost): Promise<Script> {
    this.check(source);
    this.host = host;
    return {
      sync: this.sync,
      run: (view) => this.sync ? this.answer(view) : Promise.resolve(this.answer(view)),
      [Symbol.asyncDispose]: async () => void this.closed++,
    };
  }
}

const services = (scripts: ScriptEngines, more: Partial<Services> = {}): Partial<Services> => ({
  scripts,
  runtimeStore: {} as Store,
  resources: {
    async read(key) {
      if (key !== "a.ts") throw new FlowError("resource.missing", `No resource "${key}"`);
      return { file: "resources/a.ts", bytes: new TextEncoder().encode("return 1") };
    },
  },
  ...more,
});

async function run(
  engines: FakeEngines,
  event: FlowEvent,
  config: object = { code: "return 1" },
): Promise<FlowEvent[]> {
  const context = testContext(script, config, { services: services(engines), name: "shape" });
  const made = await script.create(context);
  const out: FlowEvent[] = [];
  const emit = (one: FlowEvent) => void out.push(one);
  if ("sync" in made) made.sync(event, emit, testCall(emit));
  else out.push(...await outputs(await made.async(event, testCall(emit))));
  for (const close of context.closers) await close();
  assert.equal(engines.closed, 1);
  return out;
}

for (const sync of [true, false]) {
  const mode = sync ? "fused" : "caged";
  const engines = (result: ScriptResult) => new FakeEngines(() => result, sync);

  Deno.test(`a ${mode} script's value is the next data, under the task's name`, async () => {
    const event = testEvent({ n: 1 }, { subject: "reader", id: "i" });
    const [out] = await run(engines({ kind: "value", value: 2 }), event);
    assert.deepEqual(out, { ...event, data: 2, subject: "shape", id: undefined, error: undefined });
  });

  Deno.test(`a ${mode} script that returns its event keeps subject and id`, async () => {
    const event = testEvent({ n: 1 }, { subject: "reader", id: "i" });
    const returned = { data: { n: 2 }, subject: "other", id: "j" };
    const [out] = await run(engines({ kind: "event", event: returned }), event);
    assert.deepEqual([out!.data, out!.subject, out!.id], [{ n: 2 }, "other", "j"]);
  });

  Deno.test(`a ${mode} script that returns a failed event keeps its error`, async () => {
    const error = { message: "no", code: "event.invalid", task: "t", attempts: 1, time: "" };
    const returned = { data: 1, subject: "s", id: null };
    const [out] = await run(engines({ kind: "event", event: returned }), testEvent(1, { error }));
    assert.deepEqual(out!.error, error);
  });

  Deno.test(`a ${mode} script's list becomes events, and null none`, async () => {
    const items = [{ value: 1 }, { value: null }, { event: { data: 3, subject: "s", id: null } }];
    const list = await run(engines({ kind: "list", items }), testEvent({}));
    assert.deepEqual(list.map(({ data, subject }) => [data, subject]), [
      [1, "shape"],
      [null, "shape"],
      [3, "s"],
    ]);
    assert.deepEqual(await run(engines({ kind: "drop" }), testEvent({})), []);
  });
}

Deno.test("a script cannot change the correlation id", async () => {
  const event = testEvent({}, { meta: { kept: 1 } });
  const meta = { correlation_id: "forged", more: 2 };
  const [out] = await run(new FakeEngines(() => ({ kind: "value", value: 1, meta })), event);
  assert.deepEqual(out!.meta, { correlation_id: event.meta.correlation_id!, more: 2 });
});

Deno.test("bytes that a script passes on unchanged stay bytes", async () => {
  const bytes: Data = new Uint8Array([1, 2, 3]);
  const engines = new FakeEngines(({ data, subject, id }) => ({
    kind: "event",
    event: { data, subject, id },
  }));
  const [out] = await run(engines, testEvent(bytes));
  assert.ok(isBytes(out!.data));
  assert.equal(out!.data, bytes);
});

Deno.test("the extension of a resource decides its language", async () => {
  const engines = new FakeEngines(() => ({ kind: "drop" }));
  await run(engines, testEvent({}), { engine: "js", code: { resource: "a.ts" } });
  assert.deepEqual([engines.source!.language, engines.source!.code], ["ts", "return 1"]);
  const inline = new FakeEngines(() => ({ kind: "drop" }));
  await run(inline, testEvent({}));
  assert.equal(inline.source!.language, "js");
});

Deno.test("a missing resource is null for a script", async () => {
  const engines = new FakeEngines(() => ({ kind: "drop" }));
  await run(engines, testEvent({}));
  assert.equal(await engines.host!.resource("none.txt"), null);
  assert.equal(await engines.host!.resource("a.ts"), "return 1");
});

Deno.test("ctx.cache sees only keys of its own flow", async () => {
  const asked: string[] = [];
  const runtimeStore = {
    async get(key: readonly string[]) {
      asked.push(key.join("/"));
      return null;
    },
  } as unknown as Store;
  const engines = new FakeEngines(() => ({ kind: "drop" }));
  const context = testContext(script, { code: "return 1" }, {
    services: services(engines, { runtimeStore }),
  });
  await script.create(context);
  assert.equal(await engines.host!.cache.get(["k"]), null);
  assert.deepEqual(asked, ["flow/test/flow/script/k"]);
});

Deno.test("findings of the engine point into the flow file or the resource", async () => {
  const finding = new FlowError("script.syntax", "Cannot read the script: x", {
    position: { file: "", line: 3, column: 7 },
    hint: "h",
  });
  const check = async (config: object) => {
    const engines = new FakeEngines(() => ({ kind: "drop" }), true, finding);
    const { text, locate, name, flow } = testContext(script, config, {
      services: services(engines),
    });
    const parsed = v.parse(script.config, config);
    const context = { config: parsed, name, flow, text, locate, services: services(engines) };
    await script.check!(context as CheckContext<typeof parsed>);
  };
  await assert.rejects(check({ code: "x" }), {
    code: "script.syntax",
    hint: "h",
    position: { file: "test.yaml", line: 3, column: 7 },
  });
  await assert.rejects(check({ code: { resource: "a.ts" } }), {
    position: { file: "resources/a.ts", line: 3, column: 7 },
  });
});

Deno.test("sandbox is refused with a hint, limits of every engine are known", () => {
  const refused = v.safeParse(script.config, { code: "return 1", sandbox: {} });
  assert.match(refused.issues![0].message, /^sandbox is not available in this version\nhint: /);
  const limits = { timeout: "1s", memory: "64MiB", output: 1000, max_operations: 5 };
  assert.deepEqual(v.parse(script.config, { code: "return 1", limits }).limits, {
    timeout: 1000,
    memory: 64 * 1024 * 1024,
    output: 1000,
    max_operations: 5,
  });
  assert.equal(v.safeParse(script.config, { code: "return 1", limits: { x: 1 } }).success, false);
});
