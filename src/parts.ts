/**
 * The concrete parts that a configuration asks for: the one place that names stores, sources, script
 * engines, schedulers and tasks. `runtime.ts` puts them together; CLI commands that start nothing take
 * single ones.
 */
import { later } from "./core/later.ts";
import type { ClusterNode, JoinOptions } from "./cluster/join.ts";
import { createUserAuth } from "./app/auth.ts";
import { EndpointApp } from "./app/endpoints.ts";
import { type Config, DEFAULT_STORE } from "./config/load.ts";
import { loadTaskModules } from "./config/task_modules.ts";
import type { Clock } from "./core/clock.ts";
import type { Log } from "./core/log.ts";
import type { Resources } from "./flow/resource.ts";
import { noQueues, type Queues } from "./flow/queue.ts";
import { scoped } from "./flow/scoped.ts";
import type { ScriptEngines } from "./flow/script.ts";
import type { Source } from "./flow/source.ts";
import type { Store } from "./flow/store.ts";
import type { TaskDefinition } from "./flow/task.ts";
import { parseAddress } from "./nats/address.ts";
import type { NatsOptions } from "./nats/options.ts";
import { PlatformScheduler } from "./scheduler/platform.ts";
import { TimerScheduler } from "./scheduler/timers.ts";
import { createScriptEngines } from "./script/mod.ts";
import { targetOf } from "./source/discover.ts";
import { FileResources, layered } from "./source/file_resources.ts";
import { FsSource } from "./source/fs.ts";
import { remoteOpener } from "./source/remote.ts";
import type { Packed } from "./source/oci/pack.ts";
import type { Pushed, PushPacked } from "./source/oci/push.ts";
import { builtinTasks } from "./tasks/mod.ts";

export { PlatformScheduler, remoteOpener, TimerScheduler };

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

/** The two stores of a runtime. */
export interface Stores extends AsyncDisposable {
  /** Flows, resources, workspaces, and what nodes know of each other. */
  readonly system: Store;
  /** State of flows and scripts. */
  readonly runtime: Store;
  /** The store or bucket of this name, such as one that other tools write to. */
  named(name: string): Promise<Store>;
}

/** Name of the system store: a bucket of NATS, or the first part of its keys elsewhere. */
const SYSTEM_STORE = "flowgen_system";

/** Milliseconds for which a bucket of NATS may be gone, as while somebody brings it back from a copy. */
const LONGEST_GAP = 30_000;

/**
 * @throws {FlowError} `store.locked`, `store.path_unwritable`, `store.file_invalid`; with NATS, also
 *   what `acquireNats` throws
 */
export async function openStores(
  config: Config,
  clock: Clock,
  signal: AbortSignal,
): Promise<Stores> {
  const { cache } = config;
  if (cache.type === "nats") return await openNatsStores(config, clock, signal);
  const store = await openStore(config, clock);
  return {
    system: scoped(store, [SYSTEM_STORE]),
    runtime: scoped(store, [cache.db_name]),
    named: (name) => Promise.resolve(scoped(store, [name])),
    [Symbol.asyncDispose]: () => store[Symbol.asyncDispose](),
  };
}

async function openNatsStores(
  { cache, cluster }: Config,
  clock: Clock,
  signal: AbortSignal,
): Promise<Stores> {
  const { openNatsKv } = await later<typeof import("./store/nats_kv.ts")>(
    "./store/nats_kv.ts",
    import.meta.url,
  );
  const { history, replicas, tombstone_ttl: tombstoneTtl } = cache;
  const open = (bucket: string) =>
    openNatsKv({
      nats: cache,
      bucket,
      clock,
      // Files of workspaces are written again and again; nobody wants their past.
      history: bucket === SYSTEM_STORE ? 1 : history,
      replicas,
      tombstoneTtl,
      remakeAfter: Math.max(LONGEST_GAP, cluster.lease_duration),
      signal,
    });
  const buckets = new Map<string, Promise<Store>>();
  const named = (name: string) => {
    const known = buckets.get(name);
    if (known) return known;
    const bucket = open(name);
    buckets.set(name, bucket);
    bucket.catch(() => buckets.delete(name)); // may be asked for again
    return bucket;
  };
  const close = async () => {
    for (const bucket of buckets.values()) {
      await (await bucket)[Symbol.asyncDispose]();
    }
  };
  try {
    const [system, runtime] = [await named(SYSTEM_STORE), await named(cache.db_name)];
    return { system, runtime, named, [Symbol.asyncDispose]: close };
  } catch (cause) {
    await close();
    throw cause;
  }
}

async function openStore({ cache }: Config, clock: Clock): Promise<Store> {
  if (cache.type === "memory") return await memoryStore(clock);
  const { openDenoKv, openHostedKv } = await import("./store/open.ts");
  const hosted = hostedStore(cache);
  if (hosted) return await openHostedKv(hosted.address, clock);
  return await openDenoKv(cache.path, clock);
}

/** An address names a hosted store, and on Deno Deploy there is one without a name. */
function hostedStore(
  { type, path }: Config["cache"],
): { readonly address: string | undefined } | null {
  if (type !== "deno_kv") return null;
  if (/^[a-z][\w+.-]+:\/\//i.test(path)) return { address: path };
  return path === DEFAULT_STORE && onDeploy() ? { address: undefined } : null;
}

/** Queues on JetStream in a cluster, else on the store, which this process has for itself. */
export async function openQueues(
  { cache }: Config,
  { store, clock }: { store: Store; clock: Clock },
): Promise<Queues> {
  if (cache.type === "nats") {
    const { JetStreamQueues } = await later<typeof import("./store/queue/jetstream_queue.ts")>(
      "./store/queue/jetstream_queue.ts",
      import.meta.url,
    );
    return new JetStreamQueues({
      nats: cache,
      prefix: cache.db_name,
      replicas: cache.replicas,
      store,
      clock,
    });
  }
  if (hostedStore(cache)) return noQueues;
  const { StoreQueues } = await import("./store/queue/store_queue.ts");
  return new StoreQueues({ store, clock });
}

/** Whether other processes may have the store too, with nobody who knows of them. */
export function isHosted({ cache }: Config): boolean {
  return hostedStore(cache) !== null;
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

/** What all flows share: files of `resources.path`, then what other tools have `stored`. */
export function sharedResources({ resources }: Config, stored?: Resources): Resources {
  const files = new FileResources(resources.path);
  if (!stored) return files;
  return resources.path === undefined ? stored : layered([files, stored]);
}

/** For flows from files: what is beside them comes first, then what all share. */
export async function resourcesOf(config: Config, stored?: Resources): Promise<Resources> {
  const { flows, resources } = config;
  const shared = sharedResources(config, stored);
  if (flows.path === undefined) return shared;
  const own = new FileResources((await targetOf(flows.path)).root);
  return resources.path === undefined && !stored ? own : layered([own, shared]);
}

/** Files of the local disk: a folder, one file, or a pattern with `*`. */
export function fileSource(path: string, clock: Clock): Required<Source> {
  return new FsSource({ path, clock });
}

/** What people are shown: a path, or where a cluster's store is. */
export function storeName({ cache }: Config): string {
  if (cache.type === "memory") return "memory";
  return cache.type === "nats" ? parseAddress(cache.url).shown : cache.path;
}

/** The server that the runtime itself uses, for tasks that name none. */
export function natsOf({ cache }: Config): NatsOptions | undefined {
  const { type, url, credentials_path, tls } = cache;
  return type === "nats" ? { url, credentials_path, tls } : undefined;
}

/**
 * Becomes a node of the cluster that shares the store.
 *
 * @throws {FlowError} `cluster.lease_invalid`
 */
export async function joinCluster(
  { cluster: { lease_duration, renew_interval } }: Config,
  options: Omit<JoinOptions, "lease" | "renew">,
): Promise<ClusterNode> {
  const { joinCluster } = await later<typeof import("./cluster/join.ts")>(
    "./cluster/join.ts",
    import.meta.url,
  );
  return await joinCluster({ ...options, lease: lease_duration, renew: renew_interval });
}

/** `flows/` and `resources/` of a folder, ready to be pushed; see `packFolder`. */
export async function packArtifact(folder: string): Promise<Packed> {
  const { packFolder } = await later<typeof import("./source/oci/pack.ts")>(
    "./source/oci/pack.ts",
    import.meta.url,
  );
  return await packFolder(folder);
}

/** Pushes what was packed; see `pushPacked`. */
export async function pushArtifact(packed: Packed, options: PushPacked): Promise<Pushed> {
  const { pushPacked } = await later<typeof import("./source/oci/push.ts")>(
    "./source/oci/push.ts",
    import.meta.url,
  );
  return await pushPacked(packed, options);
}
