import assert from "node:assert/strict";
import { systemClock } from "../core/clock.ts";
import { formatError } from "../core/errors.ts";
import { silentLog } from "../core/log.ts";
import { EndpointApp } from "../app/endpoints.ts";
import { listedEnv } from "../flow/env.ts";
import { TimerScheduler } from "../scheduler/timers.ts";
import { createScriptEngines } from "../script/mod.ts";
import { FileResources } from "../source/file_resources.ts";
import { builtinTasks } from "../tasks/mod.ts";
import { snapshotChecker } from "./check.ts";
import { layOut } from "./layout.ts";
import { snapshotOf } from "./testing.ts";

const endpoint = (path: string) =>
  `flow:
  tasks:
    - http_endpoint: { name: in, method: GET, endpoint: ${path} }
    - log: { name: out }
`;
const script = (code: string) =>
  `flow:
  tasks:
    - generate: { name: tick, interval: 1h }
    - script: { name: change, code: ${code} }
`;

/** What the check says about the files of a version, with variables `HOST` and `SECRET` set here. */
async function findingsOf(files: Record<string, string>): Promise<string[]> {
  const clock = systemClock;
  await using scripts = createScriptEngines({
    isolation: "none",
    defaultLanguage: "js",
    limits: {},
    clock,
    log: silentLog,
  });
  const variables: Record<string, string> = { HOST: "example.org", SECRET: "s3cr3t" };
  const check = snapshotChecker({
    definitions: new Map(builtinTasks.map((task) => [task.type, task])),
    env: listedEnv((name) => variables[name], ["HOST", "MISSING"]),
    resources: new FileResources(undefined),
    services: {
      scripts,
      scheduler: new TimerScheduler({ clock }),
      endpoints: new EndpointApp({ enabled: true, path: "" }),
    },
  });
  const findings = await check("demo", layOut(snapshotOf("1", files), ""));
  const texts = findings.map(({ identity, error }) => `${identity}: ${formatError(error)}`);
  assert.doesNotMatch(texts.join(), /s3cr3t/);
  return texts.map((text) => text.split("\n").slice(0, 2).join(" "));
}

Deno.test("a version whose flows are right has no findings", async () => {
  assert.deepEqual(
    await findingsOf({
      "flows/a.yaml": endpoint("/a"),
      "flows/b.yaml": script("{ resource: change.js }"),
      "resources/change.js": "return event;",
    }),
    [],
  );
});

Deno.test("syntax, fields, graphs, scripts and resources of all flows are looked at", async () => {
  const found = await findingsOf({
    "flows/fields.yaml": endpoint("/x").replace("endpoint: /x", "endpoint: /x, pth: y"),
    "flows/graph.yaml": "flow:\n  tasks:\n    - log: { name: out }\n",
    "flows/resource.yaml": script("{ resource: nowhere.js }"),
    "flows/script.yaml": script("'return ]'"),
    "flows/syntax.yaml": "flow: [",
  });
  assert.deepEqual(found.map((text) => /^(\w+): (?:\S+ )?(\w+\.\w+) /.exec(text)?.slice(1)), [
    ["fields", "config.unknown_key"],
    ["graph", "flow.no_source"],
    ["resource", "resource.missing"],
    ["script", "script.syntax"],
    ["syntax", "config.yaml_syntax"],
  ]);
});

Deno.test("what is wrong in a script's own file is found at its place there", async () => {
  const files = {
    "flows/a.yaml": script("{ resource: say/hello.js }"),
    "resources/say/hello.js": "return {\n  text: 'hello }",
  };
  assert.deepEqual(await findingsOf(files), [
    "a: resources/say/hello.js:2:9 script.syntax " +
    "Cannot read the script: The string that starts here has no end",
  ]);
});

Deno.test("variables that this node lacks or keeps to itself are no fault of a version", async () => {
  assert.deepEqual(
    await findingsOf({
      "flows/missing.yaml": endpoint("'/{{env.MISSING}}'"),
      "flows/not_allowed.yaml": endpoint("'/{{env.SECRET}}'"),
      "flows/number.yaml": script("'return event'")
        .replace("interval: 1h", "interval: '{{env.MISSING}}'"),
    }),
    [],
  );
});

Deno.test("the rest of a flow with a missing variable is looked at too", async () => {
  const found = await findingsOf({
    "flows/fields.yaml": endpoint("'/{{env.MISSING}}'").replace("name: out", "nmae: out"),
    "flows/graph.yaml": "flow:\n  name: '{{env.MISSING}}'\n  tasks:\n    - log: { name: out }\n",
    "flows/script.yaml": "flow:\n  name: '{{env.SECRET}}'\n" + script("'return ]'").slice(6),
  });
  const told = new Set(found.map((text) => text.split(":")[0]));
  assert.deepEqual([...told], ["fields", "graph", "script"]);
});

Deno.test("two flows of a version that claim one route are one too many", async () => {
  const found = await findingsOf({ "a.yaml": endpoint("/same"), "b.yaml": endpoint("/same") });
  assert.equal(found.length, 1);
  assert.match(found[0]!, /^b: .*flow\.claim_taken Cannot claim "http GET \/same": flow "a"/);
});
