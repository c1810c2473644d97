/**
 * The composition root: a configuration in, a runtime out. The CLI, `deno serve` and tests share it.
 */
import { dirname } from "node:path";
import type { EndpointApp } from "./app/endpoints.ts";
import { controlApp } from "./app/control.ts";
import { healthApp } from "./app/health.ts";
import { listen, type Listener } from "./app/listen.ts";
import { type Fetch, mountAll } from "./app/mount.ts";
import { checkConfig, type Config, isChecked } from "./config/load.ts";
import { type Clock, systemClock } from "./core/clock.ts";
import { formatError, textOf } from "./core/errors.ts";
import { type Log, logFor } from "./core/log.ts";
import { type Random, systemRandom } from "./core/random.ts";
import { wholeEnv } from "./flow/env.ts";
import { uuid7 } from "./flow/event.ts";
import { scoped } from "./flow/scoped.ts";
import type { Scheduler } from "./flow/scheduler.ts";
import type { Services } from "./flow/services.ts";
import type { Source } from "./flow/source.ts";
import type { Store } from "./flow/store.ts";
import type { TaskDefinition } from "./flow/task.ts";
import * as parts from "./parts.ts";
import { FlowLoader } from "./reconcile/load_flows.ts";
import { Reconciler } from "./reconcile/reconciler.ts";
import type { FlowStatus } from "./reconcile/status.ts";
import { version } from "./version.ts";

/** Milliseconds that what is under way has to finish when the runtime stops. */
export const STOP_DEADLINE = 30_000;

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
  readonly state: "starting" | "running" | "stopping" | "stopped";
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
export function createRuntime(config: unknown, options: RuntimeOptions = {}): Runtime {
  return new FlowRuntime(isChecked(config) ? config : checkConfig(config), options);
}

class FlowRuntime implements Runtime {
  readonly fetch: Fetch;
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #endpoints: EndpointApp;
  readonly #health: { fetch: Fetch };
  readonly #node: string;
  readonly #closers: (() => unknown)[] = [];
  readonly #ended = new AbortController();
  readonly #firstReconcile = Promise.withResolvers<void>();
  #reconciler: Reconciler | null = null;
  #http: Listener | null = null;
  #healthPort: Listener | null = null;
  #state: RuntimeStatus["state"] = "starting";
  #started: number | null = null;
  #ready = false;

  constructor(readonly config: Config, readonly options: RuntimeOptions) {
    this.#clock = options.clock ?? systemClock;
    this.#log = options.log ?? logFor("runtime");
    this.#node = uuid7(this.#clock.now());
    this.#endpoints = parts.endpointApp(config, this.#clock);
    this.#health = healthApp(() => ({
      ready: this.#ready,
      not_running: this.#notRunning(),
    }));
    // Requests that come before the flows are there wait for them instead of finding no route.
    const endpoints: Fetch = (request) =>
      this.#ready
        ? this.#endpoints.fetch(request)
        : this.#firstReconcile.promise.then(() => this.#endpoints.fetch(request));
    this.fetch = mountAll({ endpoints: { fetch: endpoints }, health: this.#health });
  }

  async start(): Promise<void> {
    try {
      await this.#start();
    } catch (cause) {
      await this.#reconciler?.stop(0);
      await this.#close();
      this.#state = "stopped";
      throw cause;
    }
  }

  async #start(): Promise<void> {
    const { config, options } = this;
    const definitions = await parts.taskDefinitions(config, options.tasks);
    // Ports first: what cannot listen must not have started anything.
    if (options.listen !== false) await this.#listen();
    const store = await this.#openStore();
    const services = this.#services(store);
    const reconciler = new Reconciler({
      services,
      log: options.log ?? logFor("flow"),
      retry: config.retry,
      credentials: (path) => path,
    });
    this.#reconciler = reconciler;
    const env = options.env ?? Deno.env.toObject();
    const loader = new FlowLoader("files", {
      definitions,
      env: wholeEnv((name) => env[name]),
      resources: services.resources,
      services,
    });
    await this.#follow(reconciler, loader);
    if (options.listen !== false) await this.#openControl();
    this.#started = this.#clock.now();
    this.#state = "running";
    this.#ready = true;
    this.#firstReconcile.resolve();
  }

  async stop(deadline = STOP_DEADLINE): Promise<boolean> {
    if (this.#state === "stopping" || this.#state === "stopped") return true;
    this.#state = "stopping";
    this.#endpoints.stopping = true;
    this.#ended.abort();
    this.#firstReconcile.resolve();
    const inTime = await this.#reconciler?.stop(deadline) ?? true;
    await this.#close();
    this.#state = "stopped";
    return inTime;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.stop().then(() => {});
  }

  status(): RuntimeStatus {
    const { config } = this;
    return {
      version,
      node: this.#node,
      state: this.#state,
      started: this.#started === null ? null : new Date(this.#started).toISOString(),
      store: config.cache.type === "memory" ? "memory" : config.cache.path ?? "",
      http: this.#http && {
        port: this.#http.port,
        path: config.http_server.path,
        endpoints: this.#endpoints.list().map(({ method, path, flow }) => ({ method, path, flow })),
      },
      health: this.#healthPort && { port: this.#healthPort.port },
      flows: this.#reconciler?.status() ?? [],
    };
  }

  async #openStore(): Promise<Store> {
    const store = await parts.openStore(this.config, this.#clock);
    this.#closers.push(() => store[Symbol.asyncDispose]());
    return store;
  }

  #services(store: Store): Services {
    const { config, options } = this;
    const clock = this.#clock;
    const random = options.random ?? systemRandom;
    const scripts = parts.scriptEngines(config, { clock, log: options.log ?? logFor("script") });
    this.#closers.push(() => scripts[Symbol.asyncDispose]());
    return {
      clock,
      random,
      runtimeStore: scoped(store, [config.cache.db_name]),
      scheduler: this.#scheduler(),
      scripts,
      endpoints: this.#endpoints,
      resources: parts.resourcesOf(config),
      nodeId: this.#node,
    };
  }

  #scheduler(): Scheduler {
    const clock = this.#clock;
    if (this.options.scheduler !== "platform") return new parts.TimerScheduler({ clock });
    const scheduler = new parts.PlatformScheduler({ clock });
    scheduler.start();
    this.#closers.push(() => scheduler.stop());
    return scheduler;
  }

  async #listen(): Promise<void> {
    const { health, http_server } = this.config;
    const onError = (cause: unknown) =>
      this.#log.error("A request broke", {
        error: textOf(cause),
      });
    if (health.enabled) {
      this.#healthPort = await listen({
        fetch: this.#health.fetch,
        port: health.port,
        onError,
        setting: "health.port",
      });
      this.#closers.push(() => this.#healthPort!.stop(1_000));
    }
    if (http_server.enabled) {
      this.#http = await listen({
        fetch: this.fetch,
        port: http_server.port,
        hostname: http_server.hostname,
        onError,
        setting: "http_server.port",
      });
      this.#closers.push(() => this.#http!.stop(1_000));
    }
  }

  async #openControl(): Promise<void> {
    const { cache, control: { path } } = this.config;
    try {
      await Deno.mkdir(dirname(path!), { recursive: true });
      const control = await listen({
        fetch: controlApp({ status: () => this.status() }).fetch,
        path,
        onError: () => {},
      });
      this.#closers.push(() => control.stop(1_000));
    } catch (cause) {
      // A store file has one owner, and so has the socket beside it. Without a file any number of
      // processes may run in one folder, and the first of them answers.
      if (cache.type !== "memory") throw cause;
      this.#log.warning("There is no control socket, so flowgen status will not find this node", {
        path,
        error: textOf(cause),
      });
    }
  }

  /** Loads the flows once, and again whenever their files or resources change. */
  async #follow(reconciler: Reconciler, loader: FlowLoader): Promise<void> {
    const { flows, resources } = this.config;
    if (flows.path === undefined) return;
    const source = parts.fileSource(flows.path, this.#clock);
    let seen: string | null = null;
    const load = async (previous: string | null) => {
      const snapshot = await source.read(previous, this.#ended.signal);
      seen = snapshot?.version ?? seen;
      for (const { identity, error } of snapshot?.problems ?? []) {
        if (identity === undefined) this.#log.warning(formatError(error));
      }
      if (snapshot) await reconciler.apply(await loader.load(snapshot));
    };
    await load(null);
    if (!flows.watch) return;
    const watch = async (watched: Required<Source>, previous: () => string | null) => {
      for await (const _ of watched.watch(this.#ended.signal)) {
        await load(previous()).catch((cause) =>
          this.#log.error("Cannot read the flows", { error: textOf(cause) })
        );
      }
    };
    const loops = [watch(source, () => seen)];
    if (resources.path !== undefined) {
      // The flow files are the same then, but what they refer to may not be.
      loops.push(watch(parts.fileSource(resources.path, this.#clock), () => null));
    }
    this.#closers.push(() => Promise.all(loops));
  }

  #notRunning() {
    return (this.#reconciler?.status() ?? [])
      .filter(({ state }) => state === "invalid" || state === "degraded")
      .map(({ identity, state, error }) => ({ flow: identity, state, error: error?.message }));
  }

  /** Closes what was opened, last first. */
  async #close(): Promise<void> {
    this.#ended.abort();
    for (const close of this.#closers.splice(0).reverse()) {
      try {
        await close();
      } catch (cause) {
        this.#log.warning("Something did not close cleanly", { error: textOf(cause) });
      }
    }
  }
}
