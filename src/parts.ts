/**
 * The concrete parts that a configuration asks for: the one place that names stores, sources, script
 * engines, schedulers and tasks. `runtime.ts` puts them together; CLI commands that start nothing take
 * single ones.
 */
import { createUserAuth } from "./app/auth.ts";
import { EndpointApp } from "./app/endpoints.ts";
import { type Config, DEFAULT_STORE } from "./config/load.ts";
import { loadTaskModules } from "./config/task_modules.ts";
import type { Clock } from "./core/clock.ts";
import type { Log } from "./core/log.ts";
import type { Resources } from "./flow/resource.ts";
import type { ScriptEngines } from "./flow/script.ts";
import type { Source } from "./flow/source.ts";
import type { Store } from "./flow/store.ts";
import type { TaskDefinition } from "./flow/task.ts";
import { PlatformScheduler } from "./scheduler/platform.ts";
import { TimerScheduler } from "./scheduler/timers.ts";
import { createScriptEngines } from "./script/mod.ts";
import { targetOf } from "./source/discover.ts";
import { FileResources, layered } from "./source/file_resources.ts";
import { FsSource } from "./source/fs.ts";
import { builtinTasks } from "./tasks/mod.ts";

export { PlatformScheduler, TimerScheduler };

/**
 * All task types, by name: built-in, given by the embedder, and those of `config.tasks`.
 *
 * @throws {FlowErrors} `config.task_module_failed`, `config.task_module_empty`, `config.task_taken`
 */
export async function taskDefinitions(
  config: Config,
  given: readonly TaskDefinition[] = [],
): Promise<ReadonlyMap<string, TaskDefinition>> {
  const known = [...builtinTasks, ...given];
  const all = [...known, ...await loadTaskModules(config.tasks, known)];
  return new Map(all.map((definition) => [definition.type, definition]));
}

/**
 * @throws {FlowError} `store.locked`, `store.path_unwritable`, `store.file_invalid`
 */
export async function openStore({ cache }: Config, clock: Clock): Promise<Store> {
  if (cache.type === "memory") return await memoryStore(clock);
  const { openDenoKv, openHostedKv } = await import("./store/open.ts");
  // An address names a hosted store, and on Deno Deploy there is one without a name.
  if (/^[a-z][\w+.-]+:\/\//i.test(cache.path)) return await openHostedKv(cache.path, clock);
  if (cache.path === DEFAULT_STORE && onDeploy()) return await openHostedKv(undefined, clock);
  return await openDenoKv(cache.path, clock);
}

function onDeploy(): boolean {
  const { state } = Deno.permissions.querySync({ name: "env", variable: "DENO_DEPLOYMENT_ID" });
  return state === "granted" && Deno.env.has("DENO_DEPLOYMENT_ID");
}

export async function memoryStore(clock: Clock): Promise<Store> {
  const { MemoryStore } = await import("./store/memory.ts");
  return new MemoryStore({ clock });
}

export function scriptEngines(
  { scripts: { isolation, engine, children, limits } }: Config,
  { clock, log }: { clock: Clock; log: Log },
): ScriptEngines & AsyncDisposable {
  return createScriptEngines({ isolation, defaultLanguage: engine, children, limits, clock, log });
}

export function endpointApp({ http_server }: Config, clock: Clock): EndpointApp {
  const { enabled, path, credentials_path, auth } = http_server;
  return new EndpointApp({
    enabled,
    path,
    credentialsPath: credentials_path,
    auth: auth && createUserAuth(auth, { clock }),
  });
}

/** Files beside the flows come first, then those of `resources.path`. */
export async function resourcesOf({ flows, resources }: Config): Promise<Resources> {
  const shared = new FileResources(resources.path);
  if (flows.path === undefined) return shared;
  const own = new FileResources((await targetOf(flows.path)).root);
  return resources.path === undefined ? own : layered([own, shared]);
}

/** Files of the local disk: a folder, one file, or a pattern with `*`. */
export function fileSource(path: string, clock: Clock): Required<Source> {
  return new FsSource({ path, clock });
}
