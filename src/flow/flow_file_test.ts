import assert from "node:assert/strict";
import fc from "fast-check";
import * as v from "valibot";
import { FlowErrors } from "../core/errors.ts";
import { wholeEnv } from "./env.ts";
import { parseFlow } from "./flow_file.ts";
import { Duration } from "./schema.ts";
import { defineTask, type TaskDefinition } from "./task.ts";

const tick = defineTask({
  type: "tick",
  mode: "source",
  summary: "Ticks.",
  config: v.strictObject({ interval: Duration, concurrency: v.optional(v.string()) }),
  examples: [],
  create: () => ({ run: () => Promise.resolve() }),
});
const listen = defineTask({
  type: "listen",
  mode: "source",
  request: true,
  summary: "Listens.",
  config: v.strictObject({}),
  examples: [],
  create: () => ({ run: () => Promise.resolve() }),
});
const step = defineTask({
  type: "step",
  mode: "sync",
  summary: "Steps.",
  config: v.strictObject({ code: v.optional(v.string()), retry: v.optional(v.string()) }),
  examples: [],
  create: () => () => {},
});
const definitions = new Map<string, TaskDefinition>(
  [tick, listen, step].map((task) => [task.type, task]),
);

function parse(text: string, env: Record<string, string> = {}) {
  const lookup = wholeEnv((name) => env[name]);
  return parseFlow({ identity: "a/b", file: "flows/a/b.yaml", text, definitions, env: lookup });
}

async function codes(text: string): Promise<string[]> {
  return await parse(text).then(
    () => [],
    (cause: FlowErrors) => cause.findings.map(({ code, position }) => `${position?.line} ${code}`),
  );
}

Deno.test("a task finds places inside its own fields, also inside a block of code", async () => {
  const flow = await parse(
    "flow:\n  tasks:\n    - step:\n        name: a\n        code: |\n          x\n            y\n",
  );
  const task = flow.tasks[0]!;
  const file = "flows/a/b.yaml";
  assert.deepEqual(task.locate([]), { file, line: 3, column: 7 });
  assert.deepEqual(task.locate(["name"]), { file, line: 4, column: 15 });
  assert.deepEqual(task.locate(["code"], 2, 3), { file, line: 7, column: 13 });
});

Deno.test("a common field wins over a task's own field of that name", async () => {
  const { tasks } = await parse(
    "flow: { tasks: [{ step: { name: a, retry: { max_attempts: 2 } } }] }",
  );
  assert.equal(tasks[0]?.retry?.max_attempts, 2);
  assert.deepEqual(tasks[0]?.config, {});
});

Deno.test("a field that is not common in this role may be a task's own", async () => {
  const { tasks } = await parse(
    "flow: { tasks: [{ tick: { name: a, interval: 1s, concurrency: x } }] }",
  );
  assert.deepEqual(tasks[0]?.config, { interval: 1000, concurrency: "x" });
  assert.equal(tasks[0]?.concurrency, undefined);
});

Deno.test("depends_on tells a missing list from an empty one", async () => {
  const { tasks } = await parse(
    "flow: { tasks: [{ step: { name: a } }, { step: { name: b, depends_on: [] } }] }",
  );
  assert.deepEqual(tasks.map((task) => task.dependsOn), [undefined, []]);
});

Deno.test("election of a flow with request sources is a warning with its place", async () => {
  const { warnings } = await parse(
    "flow:\n  require_leader_election: true\n  parallel_instances: 2\n  tasks: [{ listen: { name: in, reply: one } }]\n",
  );
  assert.deepEqual(warnings.map(({ position }) => position.line), [3, 2]);
});

Deno.test("findings come in the order of the file, whoever found them", async () => {
  assert.deepEqual(
    await codes(
      "flow:\n  tasks:\n    - stepp: { name: a }\n    - step: { name: x, kode: 1 }\n    - tick: { name: x, interval: never }\n  zzz: 1\n",
    ),
    [
      "3 task.unknown_type",
      "4 config.unknown_key",
      "5 flow.duplicate_task",
      "5 config.invalid_value",
      "6 config.unknown_key",
    ],
  );
});

Deno.test("the digest follows the text and the variables it uses, and nothing else", async () => {
  const text = "flow: { name: '{{env.A}}', tasks: [] }";
  const one = await parse(text, { A: "1", B: "1" });
  assert.equal(one.digest, (await parse(text, { A: "1", B: "2" })).digest);
  assert.notEqual(one.digest, (await parse(text, { A: "2" })).digest);
  assert.notEqual(one.digest, (await parse(`${text} `, { A: "1" })).digest);
  assert.match(one.digest, /^[0-9a-f]{64}$/);
});

Deno.test("whatever a file holds, what is thrown is findings with places", async () => {
  const word = fc.constantFrom(
    "flow",
    "tasks",
    "step",
    "tick",
    "listen",
    "name",
    "interval",
    "retry",
    "depends_on",
    "code",
    "labels",
    "{{env.A}}",
    "{{",
    "}}",
    "__proto__",
    "constructor",
    "1s",
    "null",
    "true",
    "12",
    "*a",
    "&a",
    "|",
    ">",
    "-",
    ":",
    "#",
    "'",
    '"',
    "[",
    "]",
    "{",
    "}",
    ",",
    "\t",
    "!!set",
    "---",
    "<<",
    "? ",
  );
  const soup = fc.array(fc.tuple(fc.constantFrom("", " ", "\n", "\n  ", "\n    - ", ": "), word), {
    maxLength: 40,
  }).map((parts) => parts.flat().join(""));
  const leaf = fc.oneof(word, fc.integer(), fc.constant(null), fc.boolean());
  const { tree } = fc.letrec<{ tree: unknown }>((tie) => ({
    tree: fc.oneof(
      { maxDepth: 5 },
      leaf,
      fc.array(tie("tree"), { maxLength: 4 }),
      fc.dictionary(word, tie("tree"), { maxKeys: 4 }),
    ),
  }));
  const shaped = tree.map((value) => JSON.stringify({ flow: { tasks: [value, { step: value }] } }));
  const texts = fc.oneof(soup, soup.map((text) => `flow:\n  tasks:\n    - step:${text}`), shaped);
  await fc.assert(
    fc.asyncProperty(texts, async (text) => {
      try {
        await parse(text);
      } catch (cause) {
        assert.ok(cause instanceof FlowErrors, String((cause as Error).stack));
        assert.ok(cause.findings.length > 0);
        for (const finding of cause.findings) assert.ok(finding.position, finding.message);
      }
    }),
    { numRuns: 1_000 },
  );
});
