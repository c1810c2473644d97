/**
 * The composition root: a configuration in, a runtime out. The CLI, `deno serve` and tests share it.
 */
import type { EndpointApp } from "./app/endpoints.ts";
import { controlApp } from "./app/control.ts";
import { healthApp } from "./app/health.ts";
import { type Fetch, mountAll, mountWebhooks } from "./app/mount.ts";
import { webhookApp, WEBHOOKS } from "./app/webhooks.ts";
import { checkConfig, type Config, type ConfigInput, isChecked } from "./config/load.ts";
import { type Clock, systemClock } from "./core/clock.ts";
import { FlowError } from "./core/errors.ts";
import { type Log, logFor } from "./core/log.ts";
import type { Random } from "./core/random.ts";
import type { ClusterView } from "./flow/cluster.ts";
import { errorAnswer } from "./flow/http.ts";
import type { TaskDefinition } from "./flow/task.ts";
import * as parts from "./parts.ts";
import { credentialsFor } from "./reconcile/credentials.ts";
import { Reconciler } from "./reconcile/reconciler.ts";
import type { FlowStatus } from "./reconcile/status.ts";
import { FlowFeed, type SourceStatus } from "./runtime/flow_feed.ts";
import { Foundation, stoppedEarly } from "./runtime/foundation.ts";
import { Ports } from "./runtime/ports.ts";
import { version } from "./version.ts";

/** Milliseconds that what is under way has to finish when the runtime stops. */
export const STOP_DEADLINE = 30_000;

/** Milliseconds for answers on their way out, once all flows have stopped. */
const LAST_ANSWERS = 1_000;

export interface RuntimeOptions {
  /** Whether to open the ports and the control socket; else the embedder calls `fetch`. */
  readonly listen?: boolean;
  /** `platform`: one static `Deno.cron` tick, for hosts that own the clock. */
  readonly scheduler?: "timers" | "platform";
  /** Task types beside the built-in ones and those of `config.tasks`. */
  readonly tasks?: readonly TaskDefinition[];
  /** Variables that `{{env.X}}` sees; the process environment when left out. */
  readonly env?: Readonly<Record<string, string>>;
  readonly clock?: Clock;
  readonly random?: Random;
  readonly log?: Log;
}

/** What is running, for people and tools. */
export interface RuntimeStatus {
  readonly version: string;
  readonly node: string;
  readonly state: "new" | "starting" | "running" | "stopping" | "stopped";
  /** What the start waits for. */
  readonly waiting?: string;
  /** RFC 3339; `null` before the start. */
  readonly started: string | null;
  readonly store: string;
  readonly http: {
    readonly port: number;
    readonly path: string;
    readonly endpoints: readonly { method: string; path: string; flow: string }[];
  } | null;
  readonly health: { readonly port: number } | null;
  readonly flows: readonly FlowStatus[];
  readonly sources: readonly SourceStatus[];
  /** Whether other nodes may share the store. */
  readonly clustered: boolean;
  readonly cluster: ClusterView;
}

/** A runtime: start it once, stop it once. */
export interface Runtime extends AsyncDisposable {
  /**
   * Opens the store and the ports, loads the flows and starts them. When it rejects, nothing is left
   * open. A flow that is broken does not make it reject; the status says why it does not run.
   *
   * @throws {FlowError | FlowErrors}
   */
  start(): Promise<void>;
  /**
   * Takes in nothing more, finishes what is under way, saves state and closes everything.
   *
   * @param deadline Milliseconds; what is not done then fails. 30 s when left out.
   * @returns whether everything was finished in time.
   */
  stop(deadline?: number): Promise<boolean>;
  status(): RuntimeStatus;
  /** Answers a request with the endpoints of the flows, or the health endpoints. */
  readonly fetch: Fetch;
}

/**
 * Makes a runtime. Nothing happens before `start`.
 *
 * @param config As `loadConfig` gives it, or the same keys as in config.yaml.
 * @throws {FlowErrors} everything wrong with the configuration.
 */
export function createRuntime(config: Config | ConfigInput, options: RuntimeOptions = {}): Runtime {
  return new FlowRuntime(isChecked(config) ? config : checkConfig(config), options);
}

class FlowRuntime implements Runtime {
  readonly fetch: Fetch;
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #endpoints: EndpointApp;
  readonly #foundation: Foundation;
  readonly #ports: Ports;
  /** What callers of flows and of webhooks reach. */
  readonly #answer: Fetch;
  readonly #ended = new AbortController();
  /** Settles when the flows were looked at once, or never will be. */
  readonly #looked = Promise.withResolvers<void>();
  #reconciler: Reconciler | null = null;
  #feed: FlowFeed | null = null;
  #state: RuntimeStatus["state"] = "new";
  #since: number | null = null;
  #starting: Promise<void> | null = null;
  #stopping: Promise<boolean> | null = null;
  /** Private, so that nobody who inspects a runtime sees the secrets in it. */
  readonly #config: Config;

  constructor(config: Config, readonly options: RuntimeOptions) {
    this.#config = config;
    const clock = this.#clock = options.clock ?? systemClock;
    this.#log = options.log ?? logFor("runtime");
    const endpoints = this.#endpoints = parts.endpointApp(config, clock);
    const { signal } = this.#ended;
    this.#foundation = new Foundation({ ...options, config, clock, endpoints, signal });
    const health = healthApp({
      health: () => ({
        ready: this.#state === "running",
        waiting: this.#foundation.waiting,
        not_running: this.#notRunning(),
        sources: this.#feed?.states().flatMap(({ name, error }) =>
          error ? [{ name, error: error.message }] : []
        ),
      }),
      cluster: () => this.#foundation.cluster.view(),
    });
    this.#answer = this.#withWebhooks();
    this.fetch = mountAll({ endpoints: { fetch: this.#serve }, health });
    this.#ports = new Ports({
      config,
      clock,
      log: this.#log,
      serve: { endpoints: this.#serve, all: this.fetch },
      health: health.fetch,
      control: controlApp({
        status: () => this.status(),
        workspaces: async () => await this.#fed().workspaces.list(),
        rollback: async (name, version) => await this.#fed().rollback(name, version),
        remove: async (name) => await this.#fed().remove(name),
        sources: () => this.#feed?.states() ?? [],
        sync: async (name, how) => await this.#fed().sync(name, how),
      }).fetch,
    });
  }

  async start(): Promise<void> {
    if (this.#starting || this.#stopping) {
      throw new FlowError("runtime.started_twice", "A runtime starts once", {
        hint: "make another one with createRuntime",
      });
    }
    this.#state = "starting";
    this.#starting = this.#start();
    try {
      await this.#starting;
    } catch (cause) {
      await this.stop(0);
      throw cause;
    }
  }

  stop(deadline = STOP_DEADLINE): Promise<boolean> {
    return this.#stopping ??= this.#stop(deadline);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.stop().then(() => {});
  }

  status(): RuntimeStatus {
    const { cache, http_server } = this.#config;
    const { http, health } = this.#ports;
    const { cluster } = this.#foundation;
    return {
      version,
      node: cluster.nodeId,
      state: this.#state,
      waiting: this.#foundation.waiting,
      started: this.#since === null ? null : new Date(this.#since).toISOString(),
      store: parts.storeName(this.#config),
      http: http && {
        port: http.port,
        path: http_server.path,
        endpoints: this.#endpoints.list().map(({ method, path, flow }) => ({ method, path, flow })),
      },
      health: health && { port: health.port },
      flows: this.#flows(),
      sources: this.#feed?.states() ?? [],
      clustered: cache.type === "nats",
      cluster: cluster.view(),
    };
  }

  /** Requests that come before the flows are there wait for them instead of finding no route. */
  readonly #serve: Fetch = (request) => {
    if (this.#state === "running") return this.#answer(request);
    if (this.#state === "starting" && this.#foundation.waiting) {
      const message = "The server is starting";
      return errorAnswer(503, { code: "http.starting", message }, { "retry-after": "2" });
    }
    return this.#looked.promise.then(() => this.#answer(request));
  };

  /** Endpoints of flows, behind the webhooks where there are any. */
  #withWebhooks(): Fetch {
    const { http_server, sources } = this.#config;
    const endpoints = this.#endpoints;
    const webhooks = new Map(
      sources.flatMap(({ name, webhook }) => webhook ? [[name, webhook] as const] : []),
    );
    if (webhooks.size === 0) return (request) => endpoints.fetch(request);
    const path = `${http_server.path}${WEBHOOKS}`;
    const app = webhookApp({
      webhooks,
      path,
      ready: () => this.#state === "running",
      trigger: (name) => this.#feed!.poller(name).trigger(),
      log: this.#log,
      clock: this.#clock,
    });
    return mountWebhooks({ endpoints, webhooks: app, path });
  }

  async #start(): Promise<void> {
    const { options } = this;
    const config = this.#config;
    const definitions = await parts.taskDefinitions(config, options.tasks);
    // Ports first: what cannot listen must not have started anything.
    if (options.listen !== false) await this.#ports.open();
    this.#assertWanted();
    // A file has one owner, who is known when it is open; a cluster may be long in coming.
    const early = config.cache.type === "nats";
    const openControl = async () => {
      if (options.listen !== false) await this.#ports.openControl();
    };
    if (early) await openControl();
    const opened = await this.#foundation.open();
    this.#assertWanted();
    const { signal } = this.#ended;
    const env = options.env ?? Deno.env.toObject();
    const feed = new FlowFeed({ ...opened, config, definitions, env, log: this.#log, signal });
    this.#feed = feed;
    this.#reconciler = new Reconciler({
      services: { ...opened.services, workspaces: feed.guarded },
      log: options.log ?? logFor("flow"),
      retry: config.retry,
      credentials: credentialsFor(config.flows.credentials_root),
    });
    await feed.load(this.#reconciler);
    const watching = feed.watch();
    this.#foundation.defer(() => watching);
    if (!early) await openControl();
    this.#assertWanted();
    this.#since = this.#clock.now();
    this.#state = "running";
    this.#looked.resolve();
  }

  /** @throws {FlowError} `runtime.starting` */
  #fed(): FlowFeed {
    if (this.#feed) return this.#feed;
    const { waiting } = this.#foundation;
    throw new FlowError(
      "runtime.starting",
      `The node is still starting${waiting ? `: ${waiting}` : ""}`,
    );
  }

  #assertWanted(): void {
    if (this.#ended.signal.aborted) throw stoppedEarly();
  }

  async #stop(deadline: number): Promise<boolean> {
    const end = this.#clock.monotonic() + deadline;
    this.#state = "stopping";
    this.#endpoints.stopping = true;
    this.#ended.abort();
    this.#looked.resolve();
    await this.#starting?.catch(() => {});
    const inTime = await this.#reconciler?.stop(deadline) ?? true;
    // Flows are done; this is for answers still on their way out and clients that hold on.
    await this.#ports.close(Math.max(0, Math.min(LAST_ANSWERS, end - this.#clock.monotonic())));
    await this.#foundation.close();
    this.#state = "stopped";
    return inTime;
  }

  #flows(): FlowStatus[] {
    const running = this.#reconciler?.status() ?? [];
    const shadowed = this.#feed?.shadowed() ?? [];
    if (shadowed.length === 0) return running;
    return [...running, ...shadowed].sort((a, b) => a.identity < b.identity ? -1 : 1);
  }

  #notRunning() {
    return this.#flows()
      .filter(({ state }) => state === "invalid" || state === "degraded")
      .map(({ identity, state, error }) => ({ flow: identity, state, error: error?.message }));
  }
}
