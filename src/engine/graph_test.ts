import assert from "node:assert/strict";
import { FlowErrors } from "../core/errors.ts";
import type { TaskEntry } from "../flow/flow.ts";
import { buildGraph, type Node, reachable, replyPath } from "./graph.ts";
import { entry, flowOf, HandSource, sync } from "./testing.ts";

type Options = Parameters<typeof sync>[2];

const source = (name = "in", options?: Options) => new HandSource().task(name, options);
const requests = (name = "in", options?: Options) =>
  new HandSource({ request: true }).task(name, options);
const task = (name: string, options?: Options) => sync(name, () => {}, options);
const after = (name: string, ...dependsOn: string[]) => task(name, { dependsOn });
const handler = (name: string, ...dependsOn: string[]) =>
  task(name, { when: "error", dependsOn: dependsOn.length > 0 ? dependsOn : undefined });
const buffer = (name: string, holds: number | undefined) =>
  entry(name, {
    type: "buffer",
    mode: "collect",
    summary: "",
    config: {} as never,
    examples: [],
    holds: () => holds,
    create: () => ({ add() {}, drop() {}, flush() {} }),
  });

/** What is wrong, each as code, message and hint; `path` says which field it points at. */
function findings(...tasks: TaskEntry[]): string[][] {
  try {
    buildGraph(flowOf(tasks));
    return [];
  } catch (cause) {
    assert.ok(cause instanceof FlowErrors);
    return cause.findings.map(({ code, message, hint }) => [code, message, hint!]);
  }
}

/** Edges as text: `a > b` for events, `a ! b` for failed events. */
function edges(...tasks: TaskEntry[]): string[] {
  const names = (mark: string, from: Node, to: readonly Node[]) =>
    to.map((node) => `${from.task.name} ${mark} ${node.task.name}`);
  return buildGraph(flowOf(tasks)).nodes.flatMap((node) => [
    ...names(">", node, node.children),
    ...names("!", node, node.handlers),
  ]);
}

const leaf = (...tasks: TaskEntry[]) =>
  replyPath(buildGraph(flowOf(tasks)).sources[0]!).leaf.task.name;

Deno.test("a task takes its events from the one before it unless it says otherwise", () => {
  assert.deepEqual(
    edges(source(), task("a"), task("b"), after("c", "a"), task("d"), after("e", "b", "d")),
    ["in > a", "a > b", "a > c", "b > e", "c > d", "d > e"],
  );
});

Deno.test("a task that depends on an unknown one is told the known ones", () => {
  assert.deepEqual(findings(source(), task("a"), after("b", "in", "aa")), [[
    "flow.depends_on_unknown",
    'Task "b" depends on "aa", which the flow does not have',
    'known tasks: "in", "a", "b"',
  ]]);
});

Deno.test("a task cannot depend on a later one", () => {
  assert.deepEqual(findings(source(), after("a", "b"), after("b", "in")), [[
    "flow.depends_on_later",
    'Task "a" depends on "b", which comes later in the file',
    'move "b" before "a"',
  ]]);
});

Deno.test("a task names each task it depends on once", () => {
  assert.deepEqual(findings(source(), after("a", "in", "in")), [[
    "flow.depends_on_twice",
    'Task "a" depends on "in" twice',
    "name each task once",
  ]]);
});

Deno.test("a circle is shown with all tasks in it", () => {
  const hint = "a task can only take events from tasks before it";
  assert.deepEqual(findings(source(), after("a", "c"), after("b", "a"), after("c", "b")), [
    ["flow.cycle", "Tasks depend on each other in a circle: a → c → b → a", hint],
  ]);
  assert.deepEqual(findings(source(), after("a", "a")), [
    ["flow.cycle", "Tasks depend on each other in a circle: a → a", hint],
  ]);
});

Deno.test("a circle is looked for in little time however tangled the flow is", () => {
  const names = Array.from({ length: 60 }, (_, n) => `t${n}`);
  const found = findings(source(), ...names.map((name, n) => after(name, ...names.slice(n + 1))));
  assert.equal(found.filter(([code]) => code === "flow.depends_on_later").length, 60 * 59 / 2);
});

Deno.test("a source in the middle is shown both ways out", () => {
  const finding = [
    "flow.source_in_middle",
    'Task "second" is a source (hand) and cannot take events from another task',
    "put it first, or give it depends_on: [] to make it a second source of the flow",
  ];
  assert.deepEqual(findings(source(), task("a"), source("second")), [finding]);
  assert.deepEqual(findings(source(), task("a"), source("second", { dependsOn: ["a"] })), [
    finding,
  ]);
});

Deno.test("a second source feeds the task after it", () => {
  assert.deepEqual(
    edges(
      source(),
      task("a"),
      source("second", { dependsOn: [] }),
      task("b"),
      after("c", "a", "b"),
    ),
    ["in > a", "a > c", "second > b", "b > c"],
  );
});

Deno.test("a source takes no events, so it has no when", () => {
  assert.deepEqual(findings(source("in", { when: "always" })), [[
    "flow.source_with_when",
    'Source "in" cannot take events',
    "remove when",
  ]]);
});

Deno.test("a flow starts with a source", () => {
  assert.deepEqual(findings(task("a"), task("b")), [[
    "flow.no_source",
    'Task "a" (sync) has no task to take events from',
    "start the flow with a source such as generate or http_endpoint",
  ]]);
  assert.deepEqual(findings(source(), task("a", { dependsOn: [] })), [[
    "flow.no_source",
    'Task "a" (sync) has no task to take events from',
    "name the tasks it takes events from in depends_on",
  ]]);
});

Deno.test("a handler cannot wait for failures of a source", () => {
  assert.deepEqual(findings(source(), task("a"), handler("dlq", "in", "a")), [[
    "flow.handler_of_source",
    'Task "dlq" waits for failures of "in", but a source fails no events',
    "leave depends_on out to serve every earlier task",
  ]]);
});

Deno.test("a catch-all that no task can fail into is an error", () => {
  const finding = (name: string) => [
    "flow.handler_unused",
    `No task before "${name}" can fail into it`,
    "put it after the tasks it serves, or name them in depends_on",
  ];
  assert.deepEqual(findings(source(), handler("dlq"), after("a", "in")), [finding("dlq")]);
  assert.deepEqual(findings(source(), task("a"), handler("dlq"), handler("own", "a")), [
    finding("dlq"),
  ]);
});

Deno.test("a catch-all serves every earlier task that has no handler of its own", () => {
  assert.deepEqual(
    edges(source(), task("a"), task("b"), handler("own", "a"), handler("dlq"), after("c", "b")),
    ["in > a", "a > b", "a ! own", "b > c", "b ! dlq", "own ! dlq"],
  );
});

Deno.test("a second catch-all serves what the first does not, and the first itself", () => {
  assert.deepEqual(
    edges(source(), task("a"), handler("first"), task("b"), handler("second")),
    ["in > a", "a > b", "a ! first", "first ! second", "b ! second"],
  );
});

Deno.test("an error task is nobody's default parent and leaves its parent a leaf", () => {
  const tasks = [source(), task("a"), handler("dlq", "a"), task("b"), handler("last", "b")];
  assert.deepEqual(edges(...tasks), ["in > a", "a > b", "a ! dlq", "b ! last"]);
  assert.equal(leaf(...tasks), "b");
});

Deno.test("what an error task emits goes to those that name it", () => {
  assert.deepEqual(edges(source(), task("a"), handler("dlq"), after("report", "dlq")), [
    "in > a",
    "a ! dlq",
    "dlq > report",
  ]);
});

Deno.test("when: always takes both kinds, keeps its place in the chain and is a handler", () => {
  const always = (name: string, options?: Options) => task(name, { when: "always", ...options });
  assert.deepEqual(
    edges(source(), always("first"), task("a"), always("both"), task("b"), handler("dlq")),
    [
      "in > first",
      "first > a",
      "first ! dlq",
      "a > both",
      "a ! both",
      "both > b",
      "both ! dlq",
      "b ! dlq",
    ],
  );
  assert.equal(leaf(source(), task("a"), always("both")), "both");
});

Deno.test("a buffer behind requests keeps nothing as long as they wait", () => {
  const finding = (kept: string, waits: string) => [
    "flow.buffer_outlives_request",
    `Task "bag" may keep an event for ${kept}, but requests of "in" end after ${waits}`,
    'give "bag" a timeout shorter than the ack_timeout of "in"',
  ];
  assert.deepEqual(findings(requests(), buffer("bag", 30_000)), [finding("30s", "30s")]);
  assert.deepEqual(findings(requests(), buffer("bag", undefined)), [finding("ever", "30s")]);
  assert.deepEqual(findings(requests("in", { ackTimeout: 90_000 }), buffer("bag", 120_000)), [
    finding("2m", "1m 30s"),
  ]);
  const behindHandler = { ...buffer("bag", 30_000), when: "error" as const };
  assert.deepEqual(findings(requests(), task("a"), behindHandler), [finding("30s", "30s")]);
  assert.deepEqual(findings(requests(), buffer("bag", 29_999)), []);
  assert.deepEqual(findings(source("in", { ackTimeout: 1 }), buffer("bag", undefined)), []);
});

Deno.test("everything wrong with the tasks' edges is found at once", () => {
  assert.deepEqual(
    findings(task("a"), after("b", "x", "y"), source("in"), after("c", "c")).map(([code]) => code),
    [
      "flow.no_source",
      "flow.depends_on_unknown",
      "flow.depends_on_unknown",
      "flow.source_in_middle",
      "flow.cycle",
    ],
  );
});

Deno.test("a finding points at the field it is about", () => {
  const paths: unknown[] = [];
  const locate: TaskEntry["locate"] = (path) => {
    paths.push(path);
    return { file: "test.yaml", line: 3, column: 7 };
  };
  const wrong = flowOf([source(), task("a", { dependsOn: ["in", "b"], locate })]);
  assert.throws(() => buildGraph(wrong), (cause: FlowErrors) => {
    assert.deepEqual(cause.findings[0]!.position, { file: "test.yaml", line: 3, column: 7 });
    return true;
  });
  assert.ok(paths.some((path) => JSON.stringify(path) === '["depends_on",1]'));
});

Deno.test("a reply comes from the last leaf in the file without an error edge on its way", () => {
  const flow = flowOf([
    requests(),
    task("a"),
    after("side", "in"),
    after("last", "a"),
    handler("dlq"),
    after("after_dlq", "dlq"),
  ]);
  const [from] = buildGraph(flow).sources;
  const { leaf, ancestors } = replyPath(from!);
  assert.equal(leaf.task.name, "last");
  assert.deepEqual([...ancestors].map((node) => node.task.name), ["in", "a"]);
  const names = (errors: boolean) => [...reachable(from!, errors)].map((node) => node.task.name);
  assert.deepEqual(names(false), ["in", "a", "side", "last"]);
  assert.deepEqual(names(true), ["in", "a", "side", "last", "dlq", "after_dlq"]);
});
