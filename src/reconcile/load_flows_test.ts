import assert from "node:assert/strict";
import * as v from "valibot";
import { FlowError, FlowErrors } from "../core/errors.ts";
import { listedEnv } from "../flow/env.ts";
import type { Flow } from "../flow/flow.ts";
import type { Resources } from "../flow/resource.ts";
import { Text } from "../flow/schema.ts";
import { snapshotFile } from "../flow/snapshot_file.ts";
import { defineTask } from "../flow/task.ts";
import { testServices } from "../flow/testing.ts";
import { FlowLoader, type FlowSnapshot } from "./load_flows.ts";

const start = defineTask({
  type: "start",
  mode: "source",
  summary: "",
  config: v.strictObject({ text: v.optional(Text) }),
  examples: [],
  create: () => ({ run: () => Promise.resolve() }),
});

function flowText(fields = ""): string {
  return `flow:\n  tasks:\n    - start: { name: in${fields} }\n`;
}

function snapshotOf(
  flows: Record<string, string>,
  resources: Record<string, string> = {},
): FlowSnapshot {
  const filesOf = (texts: Record<string, string>) =>
    new Map(
      Object.entries(texts).map(([path, text]) => {
        const file = snapshotFile(path, `demo:${path}`, new TextEncoder().encode(text));
        return [path, file] as const;
      }),
    );
  const version = JSON.stringify([flows, resources]);
  return { version, files: filesOf(flows), resources: filesOf(resources), problems: [] };
}

const shared: Resources = {
  read(key) {
    if (key === "shared.sql" || key === "both.sql") {
      return Promise.resolve({ file: key, bytes: new TextEncoder().encode("shared") });
    }
    throw new FlowError("resource.missing", `Cannot find the resource "${key}" in shared`);
  },
};

function loader({ resources = shared, source = "workspace:demo", outside = true } = {}) {
  const variables: Record<string, string> = { LISTED: "yes", SECRET: "no" };
  return new FlowLoader(source, {
    definitions: new Map([["start", start]]),
    env: listedEnv((name) => variables[name], ["LISTED"]),
    resources,
    services: testServices(),
    outside,
  });
}

async function flowOf(from: FlowLoader, snapshot: FlowSnapshot): Promise<Flow> {
  const [wanted] = await from.load(snapshot);
  if (wanted!.flow instanceof FlowErrors) throw wanted!.flow.findings[0];
  return wanted!.flow;
}

async function textOf(flow: Flow, key: string): Promise<string> {
  return new TextDecoder().decode((await flow.outside!.resources.read(key)).bytes);
}

Deno.test("a flow from outside reads its own snapshot first, then what all share", async () => {
  const snapshot = snapshotOf({ "a.yaml": flowText() }, { "own.sql": "own", "both.sql": "own" });
  const flow = await flowOf(loader(), snapshot);
  assert.equal(await textOf(flow, "own.sql"), "own");
  assert.equal(await textOf(flow, "both.sql"), "own");
  assert.equal(await textOf(flow, "shared.sql"), "shared");
  await assert.rejects(textOf(flow, "none.sql"), { code: "resource.missing" });
  await assert.rejects(textOf(flow, "../own.sql"), { code: "resource.key_invalid" });
});

Deno.test("a missing resource is told as such where there is no shared folder", async () => {
  const nowhere: Resources = {
    read: (key) => Promise.reject(new FlowError("resource.not_configured", key)),
  };
  const from = loader({ resources: nowhere });
  const snapshot = snapshotOf({ "a.yaml": flowText(", text: { resource: q.sql }") });
  await assert.rejects(flowOf(from, snapshot), {
    code: "resource.missing",
    message: 'Cannot find the resource "q.sql"',
    position: { file: "demo:a.yaml", line: 3, column: 44 },
  });
});

Deno.test("a resource of the snapshot that changes is another flow; another file is not", async () => {
  const from = loader();
  const text = flowText(", text: { resource: q.sql }");
  const first = await flowOf(from, snapshotOf({ "a.yaml": text }, { "q.sql": "1", "x": "1" }));
  const same = await flowOf(from, snapshotOf({ "a.yaml": text }, { "q.sql": "1", "x": "2" }));
  const other = await flowOf(from, snapshotOf({ "a.yaml": text }, { "q.sql": "2", "x": "2" }));
  assert.equal(first.digest, same.digest);
  assert.notEqual(first.digest, other.digest);
});

Deno.test("what runs on unchanged reads the newest snapshot, what was replaced its own", async () => {
  const from = loader();
  const [before, after] = [flowText(), `${flowText()}# changed\n`];
  const first = await flowOf(from, snapshotOf({ "a.yaml": before }, { "x": "1" }));
  assert.equal(await textOf(first, "x"), "1");
  await from.load(snapshotOf({ "a.yaml": before }, { "x": "2" }));
  assert.equal(await textOf(first, "x"), "2");
  const second = await flowOf(from, snapshotOf({ "a.yaml": after }, { "x": "3" }));
  assert.equal(await textOf(first, "x"), "2", "until it has drained");
  assert.equal(await textOf(second, "x"), "3");
  await from.load(snapshotOf({ "a.yaml": before }, { "x": "4" }));
  assert.equal(await textOf(first, "x"), "4", "it is wanted again");
});

Deno.test("one file is another flow in another source, for it reaches other things", async () => {
  const snapshot = snapshotOf({ "a.yaml": flowText() });
  const digests = await Promise.all([
    flowOf(loader({ source: "workspace:a" }), snapshot),
    flowOf(loader({ source: "workspace:b" }), snapshot),
    flowOf(loader({ source: "files", outside: false }), snapshot),
  ]);
  assert.equal(new Set(digests.map(({ digest }) => digest)).size, 3);
  assert.equal(digests[2]!.outside, undefined);
});

Deno.test("a flow from outside sees listed variables only", async () => {
  const listed = snapshotOf({ "a.yaml": flowText(", text: '{{env.LISTED}}'") });
  const flow = await flowOf(loader(), listed);
  assert.deepEqual(flow.tasks[0]!.config, { text: "yes" });
  const secret = snapshotOf({ "a.yaml": flowText(", text: '{{env.SECRET}}'") });
  await assert.rejects(flowOf(loader(), secret), { code: "config.env_not_allowed" });
});
