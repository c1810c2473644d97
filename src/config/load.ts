import { dirname, isAbsolute, join } from "node:path";
import { FlowError, FlowErrors, toFlowError } from "../core/errors.ts";
import { parseAddress } from "../nats/address.ts";
import { checkValue } from "../flow/check.ts";
import { parseDocument, type Path, type Places } from "../flow/document.ts";
import { substituteEnv, wholeEnv } from "../flow/env.ts";
import { withoutUnavailable } from "./not_available.ts";
import { withOverrides } from "./overrides.ts";
import { type Config, ConfigSchema, type WrittenConfig } from "./schema.ts";
import { resolveSource } from "./sources.ts";

export type { Config, ConfigInput } from "./schema.ts";

/** Where the store lives when nobody says: below the working directory, not beside config.yaml. */
export const DEFAULT_STORE = ".flowgen/store.sqlite3";

/** Variables by name. */
/** Variables by name. */
export type Environment = Readonly<Record<string, string>>;

/**
 * Reads config.yaml: variables filled in, `FLOWGEN_…` laid over it, checked, paths resolved. Paths in
 * the file count from the file's own folder; the default store from the working directory.
 *
 * @throws {FlowErrors} Everything that is wrong, each finding with its line: `config.file_missing`,
 * `config.file_unreadable`, `config.yaml_syntax`, `config.unknown_key`, `config.not_available` …
 */
export async function loadConfig(
  { path, env }: { path: string; env: Environment },
): Promise<Config> {
  const document = await parseDocument(await readText(path), path);
  return check(document.value, { file: path, env, places: document });
}

/**
 * The same check for a configuration that was written in code. `file`: what relative paths count
 * from; the working directory when left out.
 *
 * @throws {FlowErrors} as `loadConfig`
 */
export function checkConfig(
  value: unknown,
  { file, env = {} }: { file?: string; env?: Environment } = {},
): Config {
  return check(value, { file, env });
}

/** What an empty config.yaml means. */
export function defaultConfig(): Config {
  return checkConfig({});
}

function check(
  value: unknown,
  { file, env, places }: { file?: string; env: Environment; places?: Places },
): Config {
  const filled = substituteEnv(value ?? {}, wholeEnv((name) => env[name]), places);
  const over = withOverrides(filled.value, env);
  const { tree, findings } = withoutUnavailable(over.tree, places);
  const checked = checkValue(ConfigSchema, tree, {
    places,
    subject: "config.yaml",
    env: { uses: [...over.uses, ...filled.uses], failed: filled.failed, guarded: true },
  });
  const all = [
    ...(checked.ok ? samePorts(checked.output, places) : []),
    ...(checked.ok ? badAddress(checked.output, places) : []),
    ...(checked.ok ? deafWebhooks(checked.output, places) : []),
    ...filled.findings,
    ...over.findings,
    ...findings,
    ...(checked.ok ? [] : checked.findings.map(withAdvice)),
  ];
  if (all.length > 0 || !checked.ok) {
    const line = (error: FlowError) => error.position?.line ?? 0;
    throw new FlowErrors(all.toSorted((a, b) => line(a) - line(b)));
  }
  const config = resolvePaths(checked.output, file === undefined ? "." : dirname(file));
  checkedConfigs.set(config, places);
  return config;
}

/** With where each key stands, for those that came from a file. */
const checkedConfigs = new WeakMap<object, Places | undefined>();

/** What is found wrong later, such as when a source is opened, as a finding at its key. */
export function findingAt(config: Config, path: Path, cause: unknown): FlowErrors {
  const position = checkedConfigs.get(config)?.locate(path);
  return new FlowErrors([toFlowError(cause, "config.invalid_value").at(position)]);
}

/** Whether `loadConfig` or `checkConfig` made this value, in which durations are numbers already. */
export function isChecked(value: unknown): value is Config {
  return typeof value === "object" && value !== null && checkedConfigs.has(value);
}

/** Two listeners cannot share a port; better said here than as a port in use by another program. */
function samePorts({ http_server, health }: WrittenConfig, places?: Places): FlowError[] {
  const shared = http_server.enabled && health.enabled && http_server.port === health.port;
  if (!shared || health.port === 0) return [];
  return [
    new FlowError(
      "config.ports_equal",
      `Cannot use port ${health.port} for both http_server and health`,
      {
        hint:
          "change health.port, or set health.enabled to false: its paths are then on http_server",
        position: places?.locate(["health", "port"]),
      },
    ),
  ];
}

function badAddress({ cache: { type, url } }: WrittenConfig, places?: Places): FlowError[] {
  if (type !== "nats") return [];
  try {
    parseAddress(url);
    return [];
  } catch (cause) {
    return [toFlowError(cause).at(places?.locate(["cache", "url"]))];
  }
}

/** A webhook that nobody can call would be missed only when a push takes its time. */
function deafWebhooks({ http_server, sources }: WrittenConfig, places?: Places): FlowError[] {
  if (http_server.enabled) return [];
  return sources.flatMap(({ name, webhook }, index) =>
    webhook
      ? new FlowError(
        "config.http_server_disabled",
        `Cannot take calls for the source "${name}": http_server.enabled is false`,
        {
          hint: "turn http_server on, or leave webhook out: the source is asked once an interval",
          position: places?.locate(["sources", index, "webhook"]),
        },
      )
      : []
  );
}

/** Flowgen 0.120 grouped these sections under one. */
function withAdvice(finding: FlowError): FlowError {
  if (!finding.message.startsWith('Unknown key "worker" ')) return finding;
  return new FlowError(finding.code, 'Unknown key "worker" in config.yaml', {
    hint: "http_server, retry and event_buffer_size stand at the top level now",
    position: finding.position,
  });
}

async function readText(path: string): Promise<string> {
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(await Deno.readFile(path));
  } catch (cause) {
    throw new FlowErrors([
      cause instanceof Deno.errors.NotFound
        ? new FlowError("config.file_missing", `Cannot find the configuration "${path}"`, {
          hint: "name another file with --config, or write one; an empty file means all defaults",
          cause,
        })
        : new FlowError("config.file_unreadable", `Cannot read the configuration "${path}"`, {
          hint: cause instanceof TypeError ? "save it as UTF-8 text" : undefined,
          cause,
        }),
    ]);
  }
}

function resolvePaths(config: WrittenConfig, folder: string): Config {
  const from = (path: string | undefined) =>
    // A hosted store has an address.
    path === undefined || isAbsolute(path) || /^[a-z][\w+.-]+:\/\//i.test(path)
      ? path
      : join(folder, path);
  const store = from(config.cache.path) ?? DEFAULT_STORE;
  return {
    ...config,
    flows: {
      ...config.flows,
      path: from(config.flows.path),
      credentials_root: from(config.flows.credentials_root),
    },
    cache: {
      ...config.cache,
      path: store,
      credentials_path: from(config.cache.credentials_path),
      tls: config.cache.tls && {
        ca_path: from(config.cache.tls.ca_path),
        cert_path: from(config.cache.tls.cert_path),
        key_path: from(config.cache.tls.key_path),
      },
    },
    resources: { ...config.resources, path: from(config.resources.path) },
    sources: config.sources.map((source) => resolveSource(source, from)),
    http_server: {
      ...config.http_server,
      credentials_path: from(config.http_server.credentials_path),
    },
    tasks: config.tasks.map((path) => from(path)!),
    control: { path: from(config.control.path) ?? controlBeside(store) },
  };
}

function controlBeside(store: string): string {
  const isFile = !/^[a-z][\w+.-]+:\/\//i.test(store);
  return join(isFile ? dirname(store) : dirname(DEFAULT_STORE), "control.sock");
}
