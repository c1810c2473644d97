import type { EndpointApp } from "../app/endpoints.ts";
import { type Config, findingAt } from "../config/load.ts";
import { type Clock, sleep } from "../core/clock.ts";
import { FlowError, isTransient, textOf } from "../core/errors.ts";
import { type Log, logFor } from "../core/log.ts";
import { type Random, systemRandom } from "../core/random.ts";
import { type Cluster, soloCluster, viewOfClaims } from "../flow/cluster.ts";
import { uuid7 } from "../flow/event.ts";
import type { Resources } from "../flow/resource.ts";
import type { Scheduler } from "../flow/scheduler.ts";
import type { Services } from "../flow/services.ts";
import type { Store } from "../flow/store.ts";
import * as parts from "../parts.ts";
import { version } from "../version.ts";
import type { StoreResources } from "../workspace/store_flows.ts";

/** Milliseconds between two attempts to reach what the runtime cannot start without. */
const REACH_AGAIN = 1_000;

/** What a node is that has not joined its cluster. */
const OUTSIDE: Pick<Cluster, "mayRun" | "view"> = {
  mayRun: () => false,
  view: () => ({ member: false, nodes: [], ...viewOfClaims([]) }),
};

export interface FoundationOptions {
  readonly config: Config;
  readonly clock: Clock;
  readonly random?: Random;
  /** For all rooms; each has its own when left out. */
  readonly log?: Log;
  readonly scheduler?: "timers" | "platform";
  readonly endpoints: EndpointApp;
  /** Ends waiting. */
  readonly signal: AbortSignal;
}

export interface Opened {
  readonly services: Services;
  readonly stores: parts.Stores;
  /** Resources that flows from everywhere may use. */
  readonly shared: Resources;
  /** Those of them that other tools keep in the store. */
  readonly stored?: StoreResources;
}

/** What flows stand on: stores, the cluster, script engines, the scheduler. */
export class Foundation {
  /** With NATS a node that may do nothing until it has joined the others. */
  cluster: Cluster;
  /** Why opening takes so long. */
  waiting: string | undefined;
  readonly #closers: (() => unknown)[] = [];

  constructor(readonly options: FoundationOptions) {
    const now = () => options.clock.now();
    const alone = !parts.isHosted(options.config);
    const solo = soloCluster({ nodeId: uuid7(now()), now, version, host: hostName(), alone });
    this.cluster = options.config.cache.type === "nats" ? { ...solo, ...OUTSIDE } : solo;
  }

  /**
   * Opens everything. What was opened before a failure is closed by `close`.
   *
   * @throws {FlowError} `runtime.stopped` where the signal fired
   */
  async open(): Promise<Opened> {
    const { config, clock, random = systemRandom, log, endpoints, signal } = this.options;
    const stores = await this.#reach(() => parts.openStores(config, clock, signal));
    this.defer(() => stores[Symbol.asyncDispose]());
    if (config.cache.type === "nats") await this.#join(stores.system);
    const queues = await parts.openQueues(config, { store: stores.runtime, clock });
    this.defer(() => queues[Symbol.asyncDispose]());
    const scripts = parts.scriptEngines(config, { clock, log: log ?? logFor("script") });
    this.defer(() => scripts[Symbol.asyncDispose]());
    const stored = await this.#storedResources(stores);
    const services: Services = {
      clock,
      random,
      runtimeStore: stores.runtime,
      queues,
      scheduler: this.#scheduler(),
      scripts,
      endpoints,
      resources: await parts.resourcesOf(config, stored),
      remotes: parts.remoteOpener(clock),
      cluster: this.cluster,
      nats: parts.natsOf(config),
    };
    return { services, stores, shared: parts.sharedResources(config, stored), stored };
  }

  /** Runs at the end, last first. */
  defer(close: () => unknown): void {
    this.#closers.push(close);
  }

  async close(): Promise<void> {
    for (const close of this.#closers.splice(0).reverse()) {
      try {
        await close();
      } catch (cause) {
        const log = this.options.log ?? logFor("runtime");
        log.warning("Something did not close cleanly", { error: textOf(cause) });
      }
    }
  }

  async #storedResources({ named }: parts.Stores): Promise<StoreResources | undefined> {
    const { config: { resources: { cache } }, clock } = this.options;
    if (!cache?.enabled) return undefined;
    const { StoreResources } = await import("../workspace/store_flows.ts");
    return new StoreResources({ store: await named(cache.db_name), prefix: cache.prefix, clock });
  }

  async #join(store: Store): Promise<void> {
    const { config, clock, random = systemRandom, log = logFor("cluster") } = this.options;
    const node = await parts.joinCluster(config, {
      store,
      clock,
      random,
      log,
      version,
      host: hostName(),
      newId: () => uuid7(clock.now()),
    });
    this.defer(() => node.leave());
    this.cluster = node;
  }

  /**
   * Tries again for as long as it takes while the other side cannot be reached: a node that starts
   * before its NATS server shall not need anybody to start it again.
   */
  async #reach<T>(attempt: () => Promise<T>): Promise<T> {
    const { config, clock, log = logFor("runtime"), signal } = this.options;
    for (;;) {
      try {
        const reached = await attempt();
        this.waiting = undefined;
        return reached;
      } catch (cause) {
        if (config.cache.type !== "nats") throw cause;
        if (!isTransient(cause)) throw atCache(config, cause);
        const reason = textOf(cause);
        if (reason !== this.waiting) {
          const hint = cause instanceof FlowError ? cause.hint : undefined;
          log.warning("The start waits, and goes on by itself", { reason, ...(hint && { hint }) });
        }
        this.waiting = reason;
        await sleep(clock, REACH_AGAIN, signal);
        if (signal.aborted) throw stoppedEarly();
      }
    }
  }

  #scheduler(): Scheduler {
    const { clock, scheduler: kind } = this.options;
    if (kind !== "platform") return new parts.TimerScheduler({ clock });
    const scheduler = new parts.PlatformScheduler({ clock });
    scheduler.start();
    this.defer(() => scheduler.stop());
    return scheduler;
  }
}

/** What is to be mended, where it is not the address. */
const CACHE_KEYS: Readonly<Record<string, "credentials_path" | "replicas">> = {
  "nats.credentials_invalid": "credentials_path",
  "nats.auth_failed": "credentials_path",
  "nats.no_cluster": "replicas",
};

/** What the server refuses for good is to be mended in config.yaml. */
function atCache(config: Config, cause: unknown): unknown {
  if (!(cause instanceof FlowError && cause.remedy === "config")) return cause;
  const key = CACHE_KEYS[cause.code] ?? "url";
  // Who has no file for them writes user and password into the address.
  const isThere = config.cache[key] !== undefined;
  return findingAt(config, ["cache", isThere ? key : "url"], cause);
}

export function stoppedEarly(): FlowError {
  return new FlowError("runtime.stopped", "The runtime was stopped while it started");
}

/** For people who look at a cluster; empty where the platform does not tell. */
function hostName(): string {
  const may = (permission: Deno.PermissionDescriptor) =>
    Deno.permissions.querySync(permission).state === "granted";
  if (may({ name: "sys", kind: "hostname" })) return Deno.hostname();
  return may({ name: "env", variable: "HOSTNAME" }) ? Deno.env.get("HOSTNAME") ?? "" : "";
}
