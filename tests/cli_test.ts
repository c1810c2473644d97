/** The program as people meet it: real processes, real ports of the loopback interface. */
import assert from "node:assert/strict";
import manifest from "../deno.json" with { type: "json" };
import { Folder, type Running, Upstream } from "../src/cli/testing.ts";
import { version } from "../src/version.ts";

/** Any free ones: the usual may be taken. */
const PORTS = `http_server: { port: 0, hostname: 127.0.0.1 }
health: { port: 0 }
`;

const CONFIG = `flows: { path: flows }
${PORTS}`;

const HELLO = `flow:
  labels:
    example:
      body: { who: "it's me" }
  tasks:
    - http_endpoint: { name: call, endpoint: /hello, method: POST }
    - log: { name: show }
`;

/** Asks a server of the test, which answers when the test wants it to. */
const asking = (port: number) =>
  `flow:
  tasks:
    - http_endpoint: { name: call, endpoint: /ask }
    - http_request: { name: ask, endpoint: "http://127.0.0.1:${port}/" }
`;

const GRAPH = `flow:
  tasks:
    - http_endpoint: { name: order, endpoint: /orders, method: POST }
    - http_request: { name: price, endpoint: "http://127.0.0.1:1/" }
    - buffer: { name: batch, size: 10, timeout: 1s, depends_on: [price] }
    - log: { name: show, depends_on: [batch] }
    - log: { when: error, name: log }
`;

/** A task of one's own that leaves a promise and a timer to themselves. */
const FLOAT = `import * as v from "valibot";
export const float = {
  type: "float",
  mode: "sync",
  summary: "Breaks where nobody waits.",
  config: v.strictObject({}),
  examples: [],
  create: () => (event, emit) => {
    Promise.reject(new Error("promise of a task"));
    setTimeout(() => { throw new Error("timer of a task"); });
    emit({ ...event, data: 2 });
  },
};
`;

Deno.test("--version says the version of deno.json", async () => {
  await using folder = await Folder.with();
  assert.equal(version, manifest.version);
  for (const flag of ["--version", "-V"]) {
    const expected = { code: 0, stdout: `flowgen ${version}\n`, stderr: "" };
    assert.deepEqual(await folder.flowgen([flag]), expected);
  }
});

Deno.test("--help names the commands, and a command's --help its options", async () => {
  await using folder = await Folder.with();
  const general = await folder.flowgen(["--help"]);
  assert.equal(general.code, 0);
  assert.match(general.stdout, /\n {2}validate +Check the configuration and flow files/);
  assert.doesNotMatch(general.stdout, /__script-child/);
  const own = await folder.flowgen(["graph", "--help"]);
  assert.equal(own.code, 0);
  assert.match(own.stdout, /^Usage: flowgen graph \[options\] <flow>$/m);
  assert.match(own.stdout, /^ {2}-c, --config <file> {2}The configuration;/m);
});

Deno.test("a wrong command line says what to write instead, and is exit code 2", async () => {
  await using folder = await Folder.with({ "a.yaml": HELLO });
  const cases: [string[], string][] = [
    [
      ["stauts"],
      'usage.unknown_command\nUnknown command "stauts"\n' +
      'hint: did you mean "flowgen status"?\n',
    ],
    [
      ["a.yaml"],
      'usage.unknown_command\nUnknown command "a.yaml"\n' +
      "hint: to run it, write flowgen --config a.yaml; to check it, flowgen validate a.yaml\n",
    ],
    [
      ["sync"],
      "usage.missing_argument\nName the source to ask\n" +
      "hint: see flowgen status for those of the running node\n",
    ],
    [
      ["validate", "--confg", "x"],
      'usage.unknown_option\nUnknown option "--confg" for ' +
      '"flowgen validate"\nhint: did you mean "--config"?\n',
    ],
    [
      ["--config"],
      "usage.missing_value\nThe option --config needs a value\n" +
      "hint: write --config <file>\n",
    ],
    [
      ["run"],
      "usage.no_config\nThere is no config.yaml in this folder\n" +
      "hint: name the configuration with --config or in the variable CONFIG_PATH\n",
    ],
    [
      ["graph", "nothing"],
      'usage.flow_missing\nThere is no flow "nothing"\n' +
      "hint: name a file, or a configuration with --config\n",
    ],
  ];
  for (const [args, stderr] of cases) {
    assert.deepEqual(await folder.flowgen(args), { code: 2, stdout: "", stderr });
  }
});

Deno.test("a broken configuration starts nothing: every finding, exit code 78", async () => {
  await using folder = await Folder.with({
    "config.yaml": "flows: { pth: flows }\nhealth: { port: no }\n",
  });
  const words = await folder.flowgen([]);
  assert.deepEqual(words, {
    code: 78,
    stdout: "",
    stderr: `config.yaml:1:10 config.unknown_key
Unknown key "pth" in "flows" of config.yaml: expected one of "path", "watch", "env", "credentials_root", "cache"
hint: did you mean "path"?

config.yaml:2:17 config.wrong_type
Expected a whole number for "port", got text "no"
`,
  });
  const json = await folder.flowgen(["--json"]);
  assert.equal(json.code, 78);
  assert.deepEqual(
    JSON.parse(json.stderr).errors.map(({ code, position }: Record<string, unknown>) => [
      code,
      position,
    ]),
    [
      ["config.unknown_key", { file: "config.yaml", line: 1, column: 10 }],
      ["config.wrong_type", { file: "config.yaml", line: 2, column: 17 }],
    ],
  );
  assert.deepEqual(await Array.fromAsync(Deno.readDir(folder.path), ({ name }) => name), [
    "config.yaml",
  ]);
});

Deno.test("run answers requests, and stops in order on SIGTERM", async () => {
  await using folder = await Folder.with({ "config.yaml": CONFIG, "flows/hello.yaml": HELLO });
  await using node = folder.start(["--config", "config.yaml"]);
  const port = await portOf(node);
  const response = await fetch(`http://127.0.0.1:${port}/hello`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: '{"who":"you"}',
  });
  assert.equal((await response.json()).payload.who, "you");
  const { level, flow, task } = await node.record("Event");
  assert.deepEqual({ level, flow, task }, { level: "info", flow: "hello", task: "show" });
  node.signal("SIGTERM");
  assert.equal((await node.record("Stopping")).signal, "SIGTERM");
  await node.record("Stopped");
  assert.deepEqual(await node.ended(), { code: 0, stdout: "", stderr: "" });
});

/** A node with a request under way, which its server answers when the test says so. */
async function underWay() {
  await using stack = new AsyncDisposableStack();
  const server = stack.use(new Upstream());
  const folder = stack.use(
    await Folder.with({ "config.yaml": CONFIG, "flows/ask.yaml": asking(server.port) }),
  );
  const node = stack.use(folder.start([]));
  const response = fetch(`http://127.0.0.1:${await portOf(node)}/ask`);
  response.catch(() => {}); // each test says what shall become of it
  await server.asked;
  const kept = stack.move();
  return { server, node, response, [Symbol.asyncDispose]: () => kept.disposeAsync() };
}

Deno.test("SIGINT waits for the request under way and answers it", async () => {
  await using under = await underWay();
  const { server, node, response } = under;
  node.signal("SIGINT");
  assert.equal((await node.record("Stopping")).waiting_for, "ask (1)");
  server.answer("at last");
  assert.equal(await (await response).json(), "at last");
  assert.equal((await node.ended()).code, 0);
});

Deno.test("a second signal ends the process at once with exit code 1", async () => {
  await using under = await underWay();
  const { node } = under;
  node.signal("SIGINT");
  await node.record("Stopping");
  node.signal("SIGTERM");
  await node.record("Stopped at once, by a second signal");
  assert.equal((await node.ended()).code, 1);
  await assert.rejects(under.response);
});

Deno.test("one Ctrl-C that arrives twice, as under deno task, counts once", async () => {
  for (let left = 5;; left--) {
    await using under = await underWay();
    const { server, node, response } = under;
    node.signal("SIGINT");
    await node.record("Stopping"); // so that the second one is one of its own
    node.signal("SIGINT");
    server.answer("done");
    const { code } = await node.ended();
    // On a machine that stood still in between it came as late as a second key.
    if (code === 1 && left > 1) continue;
    assert.equal(code, 0);
    assert.equal(await (await response).json(), "done");
    break;
  }
});

Deno.test("run shows a person what runs and how to try it", async () => {
  await using folder = await Folder.with({
    "config.yaml": CONFIG,
    "flows/hello.yaml": HELLO,
    "flows/wrong.yaml": "flow:\n  tasks:\n    - logg: { name: show }\n",
  });
  await using node = folder.start(["--text", "--config", "config.yaml"]);
  await node.line((line) => line === `flowgen ${version} is running`);
  await node.line((line) => line === "hello  running  flows/hello.yaml");
  await node.line((line) => line === "wrong  invalid  flows/wrong.yaml");
  await node.line((line) => line === '  Unknown task type "logg"');
  const curl = await node.line((line) => line.startsWith("  curl"));
  assert.equal(
    curl.replace(/:\d+/, ":PORT"),
    `  curl http://127.0.0.1:PORT/hello -H 'content-type: application/json' ` +
      `-d '{"who":"it'\\''s me"}'`,
  );
  await node.line((line) => line === "Look inside  flowgen status --config config.yaml");
  await fetch(/http\S+/.exec(curl)![0], { method: "POST", body: "1" }).then((one) => one.text());
  assert.match(
    await node.line((line) => line.includes("hello › show")),
    /^[\d:.]{12} info {2}hello/,
  );
});

Deno.test("run shows names and examples so that they cannot steer the terminal", async () => {
  await using folder = await Folder.with({
    "config.yaml": CONFIG,
    "flows/a\x1b[2J.yaml": HELLO.replace(/body: .*/, String.raw`body: "\e[2J it's \\"`),
  });
  await using node = folder.start(["--text"]);
  await node.line((line) => line.startsWith(String.raw`a\u001b[2J  running`));
  const curl = await node.line((line) => line.startsWith("  curl"));
  assert.ok(curl.endsWith(String.raw` -d $'\u001b[2J it\'s \\'`), curl);
});

Deno.test("what breaks where nobody waits for it is logged, and the node goes on", async () => {
  await using folder = await Folder.with({
    "config.yaml": `${CONFIG}scripts: { isolation: none }\ntasks: [float.ts]\n`,
    "flows/script.yaml": `flow:
  tasks:
    - http_endpoint: { name: call, endpoint: /script }
    - script: { name: left, code: "Promise.reject(new Error('left floating')); return 1;" }
`,
    "flows/task.yaml": `flow:
  tasks:
    - http_endpoint: { name: call, endpoint: /task }
    - float: { name: float }
`,
    "float.ts": FLOAT,
  });
  await using node = folder.start([]);
  const port = await portOf(node);
  const broken = "Something broke that nobody waited for";
  const ask = async (path: string) =>
    await (await fetch(`http://127.0.0.1:${port}/${path}`)).json();

  assert.equal(await ask("script"), 1);
  const { level, code, error } = await node.record(broken);
  assert.deepEqual([level, code], ["error", "runtime.unhandled"]);
  assert.match(String(error), /left floating/);

  assert.equal(await ask("task"), 2);
  assert.match(String((await node.record(broken)).error), /promise of a task/);
  assert.match(String((await node.record(broken)).error), /timer of a task/);
  assert.equal(await ask("script"), 1);
  node.signal("SIGTERM");
  assert.equal((await node.ended()).code, 0);
});

Deno.test("a port in use is told with its key, exit code 1", async () => {
  using taken = Deno.listen({ port: 0, hostname: "127.0.0.1" });
  const { port } = taken.addr as Deno.NetAddr;
  await using folder = await Folder.with({
    "config.yaml": CONFIG.replace("port: 0, hostname", `port: ${port}, hostname`),
  });
  assert.deepEqual(await folder.flowgen([]), {
    code: 1,
    stdout: "",
    stderr: `runtime.port_in_use
Cannot listen on port ${port}: it is in use
hint: set http_server.port to another number, or stop the other program
`,
  });
});

Deno.test("a second node in one folder is refused, and the first one goes on", async () => {
  await using folder = await Folder.with({ "config.yaml": CONFIG, "flows/hello.yaml": HELLO });
  await using node = folder.start([]);
  await portOf(node);
  assert.deepEqual(await folder.flowgen([]), {
    code: 1,
    stdout: "",
    stderr: `store.locked
Cannot open the store .flowgen/store.sqlite3: process ${node.process.pid} is using it
hint: ask the running flowgen with \`flowgen status\`, stop it, or set another cache.path
`,
  });
  assert.equal((await folder.flowgen(["status"])).code, 0);
});

Deno.test("status asks the running node, in words and in JSON", async () => {
  await using folder = await Folder.with({ "config.yaml": CONFIG, "flows/hello.yaml": HELLO });
  assert.deepEqual(await folder.flowgen(["status"]), {
    code: 1,
    stdout: "",
    stderr: `control.no_node
No running node found at .flowgen/control.sock
hint: start one with flowgen run; with --config, status asks the node of that configuration
`,
  });
  await using node = folder.start([]);
  const { http_port, health_port } = await node.record("Running");
  const json = JSON.parse((await folder.flowgen(["status"])).stdout);
  assert.equal(json.http.port, http_port);
  assert.deepEqual(json.http.endpoints, [{ method: "POST", path: "/hello", flow: "hello" }]);
  assert.equal(json.flows[0].state, "running");
  const { stdout } = await folder.flowgen(["status", "--text"]);
  const { node: id, flows: [{ running }] } = json;
  // How long it has run, and so how wide that column is, depends on the machine.
  const timeless = (text: string) =>
    text.replaceAll(/\b[\d.]+(ms|s|m)( \d+s)?\b/g, "T").replaceAll(/ {2,}/g, "  ");
  assert.equal(
    timeless(stdout),
    timeless(`flowgen ${version} is running for T

Node    ${id}
Store   .flowgen/store.sqlite3
HTTP    port ${http_port}, 1 endpoint
Health  http://localhost:${health_port}/readyz

FLOW   STATE    FOR  OPEN  EVENTS  FAILED  VERSION
hello  running  T    0     0       0       ${running}
`),
  );
});

Deno.test("validate tells what is wrong in sources, at its line, and nothing starts with it", async () => {
  await using folder = await Folder.with({
    "config.yaml": `sources:
  - name: one
    git: { url: "git@example.com:acme/flows.git" }
  - name: two
    oci: { artifact: "no spaces allowed" }
${PORTS}`,
  });
  const first = `config.yaml:3:10 source.url_invalid
Cannot read a Git repository from an SSH address
hint: write https://example.com/acme/flows.git
`;
  const { code, stdout } = await folder.flowgen(["validate", "--text"]);
  assert.equal(code, 78);
  assert.ok(stdout.startsWith(first), stdout);
  assert.match(stdout, /config\.yaml:5:10 source\.reference_invalid\n/);
  const run = await folder.flowgen(["run", "--text"]);
  assert.deepEqual([run.code, run.stderr.startsWith(first)], [78, true], run.stderr);
});

Deno.test("a login for NATS that cannot be used is told at its line, and nothing starts", async () => {
  await using folder = await Folder.with({
    "config.yaml": `cache:\n  type: nats\n  credentials_path: gone.json\n${PORTS}`,
  });
  const { code, stderr } = await folder.flowgen(["run", "--text"]);
  assert.equal(code, 78);
  assert.match(
    stderr,
    /config\.yaml:3:21 nats\.credentials_invalid\nCannot use the credentials file gone\.json: there is no such file\n/,
  );
});

Deno.test("validate tells every finding of every file, and exit code 78", async () => {
  await using folder = await Folder.with({
    "config.yaml": CONFIG,
    "flows/a.yaml": HELLO,
    "flows/b.yaml": HELLO,
    "flows/c.yaml": "flow:\n  parallel_instances: 2\n  tasks:\n" +
      "    - generate: { name: tick, interval: 1m }\n",
    "flows/deep/d.yaml":
      "flow:\n  tasks:\n    - generate: { name: tick, intervall: 1m }\n    - logg: { name: show }\n",
  });
  assert.deepEqual(await folder.flowgen(["validate", "--text"]), {
    code: 78,
    stderr: "",
    stdout: `flows/c.yaml:2:3 warning
parallel_instances has no effect: use concurrency on a task or max_in_flight on a source

flows/deep/d.yaml:3:31 config.unknown_key
Unknown key "intervall" in task "generate": expected one of "interval", "cron", "timezone", "count", "allow_rerun", "payload", "catch_up", "scope"
hint: did you mean "interval"?

flows/deep/d.yaml:4:7 task.unknown_type
Unknown task type "logg"
hint: did you mean "log"?

flows/b.yaml:6:7 flow.claim_taken
Cannot claim "http POST /hello": flow "a" already holds it
hint: choose another path or method, or remove one of the two

5 files, 3 errors, 1 warning
`,
  });
  const sound = await folder.flowgen(["validate", "flows/a.yaml", "flows/c.yaml"]);
  assert.equal(sound.code, 0);
  const { files, errors, warnings } = JSON.parse(sound.stdout);
  assert.deepEqual([files, errors, warnings.length], [3, [], 1]);
});

Deno.test("graph draws a file, or a flow by its identity", async () => {
  await using folder = await Folder.with({
    "config.yaml": CONFIG,
    "flows/shop/orders.yaml": GRAPH,
  });
  const expected = {
    code: 0,
    stderr: "",
    stdout: `flowchart LR
  t0(["order<br/>http_endpoint"])
  t1[["price<br/>http_request"]]
  t2[("batch<br/>buffer")]
  t3["show<br/>log"]
  t4["log"]
  t0 --> t1
  t1 --> t2
  t1 -. error .-> t4
  t2 --> t3
  t2 -. error .-> t4
  t3 -. error .-> t4
`,
  };
  assert.deepEqual(await folder.flowgen(["graph", "flows/shop/orders.yaml"]), expected);
  assert.deepEqual(await folder.flowgen(["graph", "shop/orders"]), expected);
  assert.match(
    (await folder.flowgen(["graph", "shop/order"])).stderr,
    /did you mean "shop\/orders"/,
  );
});

Deno.test("schema prints JSON Schema of flows and of the configuration", async () => {
  await using folder = await Folder.with();
  const flow = JSON.parse((await folder.flowgen(["schema"])).stdout);
  assert.equal(flow.title, "flowgen flow");
  const config = JSON.parse((await folder.flowgen(["schema", "config"])).stdout);
  assert.ok("http_server" in config.properties);
});

Deno.test("eval runs one script and answers in one line", async () => {
  await using folder = await Folder.with({
    "twice.js": "return event.data.n * 2;",
    "types.ts": "const n: number = event.data.n;\nreturn { n };",
    "broken.js": "const n = 1;\nreturn n +;",
    "event.json": '{"data":{"n":21}}',
  });
  const twice = await folder.flowgen(["eval", "twice.js", "--event", "event.json"]);
  assert.deepEqual(twice, { code: 0, stdout: '{"value":42}\n', stderr: "" });
  const types = await folder.flowgen(
    ["eval", "types.ts", "--event", "event.json", "--isolation", "none"],
  );
  assert.deepEqual(types, { code: 0, stdout: '{"value":{"n":21}}\n', stderr: "" });
  const broken = await folder.flowgen(["eval", "broken.js"]);
  assert.equal(broken.code, 1);
  const { error } = JSON.parse(broken.stdout);
  assert.equal(error.code, "script.syntax");
  assert.deepEqual(error.position, { file: "broken.js", line: 2, column: 11 });
});

Deno.test("eval --batch answers line by line, in order, whatever a line holds", async () => {
  await using folder = await Folder.with();
  const { code, stdout } = await folder.flowgen(["eval", "--batch", "-"], {
    stdin: [
      '{"code":"globalThis.left = 1; return event.data"}',
      "not JSON",
      '{"code":"throw new Error(\\"no\\")"}',
      '{"code":"return typeof left"}',
      '{"code":"return [1, event]","event":{"data":5}}',
      '{"code":"return null","engine":"ts"}',
    ].join("\n"),
  });
  assert.equal(code, 0);
  const answers = stdout.trimEnd().split("\n").map((line) => JSON.parse(line));
  assert.deepEqual(answers.map((one) => "value" in one ? one.value : one.error.code), [
    {},
    "usage.json_invalid",
    "script.no_return",
    "undefined",
    [1, 5],
    null,
  ]);
});

async function portOf(node: Running): Promise<number> {
  return (await node.record("Running")).http_port as number;
}
