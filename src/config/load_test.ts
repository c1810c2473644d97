import assert from "node:assert/strict";
import { FlowErrors, formatError } from "../core/errors.ts";
import { checkConfig, defaultConfig, loadConfig } from "./load.ts";

function complaints(value: unknown, env: Record<string, string> = {}): string[] {
  try {
    checkConfig(value, { env });
  } catch (cause) {
    if (cause instanceof FlowErrors) return cause.findings.map(formatError);
    throw cause;
  }
  return [];
}

Deno.test("an empty configuration means the defaults", () => {
  const config = defaultConfig();
  assert.equal(config.http_server.port, 3000);
  assert.equal(config.http_server.path, "");
  assert.equal(config.health.port, 8081);
  assert.equal(config.cache.type, "deno_kv");
  assert.equal(config.cache.path, ".flowgen/store.sqlite3");
  assert.equal(config.control.path, ".flowgen/control.sock");
  assert.deepEqual(checkConfig(null), config);
  assert.deepEqual(
    checkConfig({ http_server: null, cache: { enabled: false, type: "nats" } }),
    config,
  );
});

Deno.test("paths count from the file's folder, the default store from the working directory", () => {
  const config = checkConfig({
    flows: { path: "flows/**/*.yaml" },
    resources: { path: "/abs" },
    tasks: ["./mine.ts"],
  }, { file: "deploy/config.yaml" });
  assert.equal(config.flows.path, "deploy/flows/**/*.yaml");
  assert.equal(config.resources.path, "/abs");
  assert.deepEqual(config.tasks, ["deploy/mine.ts"]);
  assert.equal(config.cache.path, ".flowgen/store.sqlite3");

  const stored = checkConfig({ cache: { path: "data/s.db" } }, { file: "deploy/config.yaml" });
  assert.equal(stored.cache.path, "deploy/data/s.db");
  assert.equal(stored.control.path, "deploy/data/control.sock");
  const hosted = checkConfig({ cache: { path: "https://kv.example/x" } }, { file: "a/c.yaml" });
  assert.equal(hosted.cache.path, "https://kv.example/x");
  assert.equal(hosted.control.path, ".flowgen/control.sock");
});

Deno.test("variables lie over the file and are cast to what the field wants", () => {
  const env = {
    FLOWGEN_HTTP_SERVER__PORT: "8080",
    FLOWGEN_HEALTH__ENABLED: "false",
    FLOWGEN_FLOWS__ENV: "A, B",
    FLOWGEN_SCRIPTS__LIMITS__TIMEOUT: "2s",
    FLOWGEN_CACHE__TYPE: "memory",
    FLOWGEN_WEB__ENABLED: "false",
    FLOWGEN_HOME: "/opt/flowgen",
    HOST: "{{x}}",
  };
  const config = checkConfig({ http_server: { port: 1, hostname: "{{env.HOST}}" } }, { env });
  assert.equal(config.http_server.port, 8080);
  assert.equal(config.http_server.hostname, "{{x}}");
  assert.equal(config.health.enabled, false);
  assert.deepEqual(config.flows.env, ["A", "B"]);
  assert.equal(config.scripts.limits.timeout, 2000);
  assert.equal(config.cache.type, "memory");
});

Deno.test("a variable that fits no key is told by its own name", () => {
  assert.deepEqual(complaints({}, { FLOWGEN_HEALTH__PRT: "1", FLOWGEN_HEALT: "x" }), [
    'config.unknown_key\nUnknown key "healt" in the variable FLOWGEN_HEALT: expected one of "flows", "cache", "cluster", "resources", "sources", "http_server", "health", "retry", "event_buffer_size", "scripts", "telemetry", "tasks", "control", "mcp_server", "ai_gateway", "web"\nhint: did you mean FLOWGEN_HEALTH?',
    'config.unknown_key\nUnknown key "prt" in "health" in the variable FLOWGEN_HEALTH__PRT: expected one of "enabled", "port"\nhint: did you mean FLOWGEN_HEALTH__PORT?',
  ]);
  assert.deepEqual(complaints({}, { FLOWGEN_HEALTH__PORT: "x" }), [
    'config.wrong_type\nExpected a whole number for "port", got text from FLOWGEN_HEALTH__PORT',
  ]);
});

Deno.test("a missing file says how to name another", async () => {
  await assert.rejects(
    loadConfig({ path: "/nowhere/config.yaml", env: {} }),
    (cause: FlowErrors) => {
      assert.equal(cause.findings[0]?.code, "config.file_missing");
      assert.match(cause.findings[0]?.hint ?? "", /--config/);
      return true;
    },
  );
});

Deno.test("a finding in a configuration from code has no position", () => {
  assert.deepEqual(complaints({ health: { port: true } }), [
    'config.wrong_type\nExpected a whole number for "port", got true',
  ]);
});

Deno.test("a store in memory is asked for by its type, not by a name of SQLite's", () => {
  assert.deepEqual(complaints({ cache: { path: ":memory:" } }), [
    "config.invalid_value\nCannot keep a store in memory and in a file\n" +
    "hint: leave path out and write type: memory",
  ]);
});

Deno.test("one port for two listeners is refused before anything starts", () => {
  assert.deepEqual(complaints({ http_server: { port: 8081 } }), [
    "config.ports_equal\nCannot use port 8081 for both http_server and health\n" +
    "hint: change health.port, or set health.enabled to false: its paths are then on http_server",
  ]);
  checkConfig({ http_server: { port: 0 }, health: { port: 0 } });
  checkConfig({ http_server: { port: 8081 }, health: { enabled: false } });
});

Deno.test("a number from a variable is held to its range", () => {
  assert.deepEqual(
    complaints({}, { FLOWGEN_HTTP_SERVER__PORT: "99999" }).map((one) => one.split("\n")[0]),
    ["config.invalid_value"],
  );
});
