import { dirname } from "node:path";
import { listen, type Listener, type ListenOptions } from "../app/listen.ts";
import type { Fetch } from "../app/mount.ts";
import type { Config } from "../config/load.ts";
import type { Clock } from "../core/clock.ts";
import { textOf } from "../core/errors.ts";
import type { Log } from "../core/log.ts";

export interface PortsOptions {
  readonly config: Config;
  readonly clock: Clock;
  readonly log: Log;
  /** What callers of flows reach, and health where it has no port of its own. */
  readonly serve: { readonly endpoints: Fetch; readonly all: Fetch };
  readonly health: Fetch;
  readonly control: Fetch;
}

/** Where a runtime listens. */
export class Ports {
  http: Listener | null = null;
  health: Listener | null = null;
  readonly #listeners: Listener[] = [];

  constructor(readonly options: PortsOptions) {}

  /** @throws {FlowError} `runtime.port_taken` and the like */
  async open(): Promise<void> {
    const { config: { health, http_server }, serve } = this.options;
    if (health.enabled) {
      this.health = await this.#open({
        fetch: this.options.health,
        port: health.port,
        setting: "health.port",
      });
    }
    if (http_server.enabled) {
      this.http = await this.#open({
        // With a port of its own, health is nothing for the callers of flows.
        fetch: health.enabled ? serve.endpoints : serve.all,
        port: http_server.port,
        hostname: http_server.hostname,
        setting: "http_server.port",
      });
    }
  }

  async openControl(): Promise<void> {
    const { config: { cache, control: { path } }, log } = this.options;
    try {
      await Deno.mkdir(dirname(path), { recursive: true });
      await this.#open({ fetch: this.options.control, path });
    } catch (cause) {
      // A store file has one owner, and so has the socket beside it. Without a file any number of
      // processes may run in one folder, and the first of them answers.
      if (cache.type === "deno_kv") throw cause;
      log.warning("There is no control socket, so flowgen status will not find this node", {
        path,
        error: textOf(cause),
      });
    }
  }

  /** @param patience Milliseconds for answers still on their way out. */
  async close(patience: number): Promise<void> {
    await Promise.all(this.#listeners.map((listener) => listener.stop(patience)));
  }

  async #open(options: Omit<ListenOptions, "onError" | "clock">): Promise<Listener> {
    const { clock, log } = this.options;
    const onError = (cause: unknown, correlation_id?: string) =>
      log.error("A request broke", { error: textOf(cause), correlation_id });
    const listener = await listen({ ...options, onError, clock });
    this.#listeners.push(listener);
    return listener;
  }
}
