import type { Config } from "../config/load.ts";
import { FlowError } from "../core/errors.ts";
import type { Log } from "../core/log.ts";
import { turnOfSource } from "../flow/cluster.ts";
import { listedEnv, wholeEnv } from "../flow/env.ts";
import type { Resources } from "../flow/resource.ts";
import type { Services } from "../flow/services.ts";
import type { Source } from "../flow/source.ts";
import type { Published, Workspaces } from "../flow/workspace.ts";
import type { TaskDefinition } from "../flow/task.ts";
import { nearest } from "../flow/similar.ts";
import * as parts from "../parts.ts";
import { type FlowPart, FlowSources, RANK } from "../reconcile/flow_sources.ts";
import { FlowLoader, type LoadOptions } from "../reconcile/load_flows.ts";
import type { Reconciler } from "../reconcile/reconciler.ts";
import type { FlowStatus } from "../reconcile/status.ts";
import { snapshotChecker } from "../workspace/check.ts";
import { Discovery } from "../workspace/discovery.ts";
import { openSource } from "./open_source.ts";
import type { SourcePoller, SourceState } from "../workspace/poller.ts";
import { WorkspaceSource } from "../workspace/source.ts";
import { StoreFlows } from "../workspace/store_flows.ts";
import { StoreWorkspaces } from "../workspace/workspaces.ts";
import { guardedWorkspaces, standing } from "./flow_workspaces.ts";

export interface FlowFeedOptions {
  readonly config: Config;
  readonly definitions: ReadonlyMap<string, TaskDefinition>;
  /** Without `workspaces`, which is made here. */
  readonly services: Services;
  readonly stores: parts.Stores;
  /** Resources that flows from everywhere may use. */
  readonly shared: Resources;
  /** Those of them that other tools keep in the store, where there are any. */
  readonly stored?: Pick<Source, "watch">;
  readonly env: Readonly<Record<string, string>>;
  readonly log: Log;
  readonly signal: AbortSignal;
}

/** How one of `sources:` is, as this node knows it. */
export interface SourceStatus extends SourceState {
  readonly kind: "git" | "oci";
}

/**
 * Where a runtime's flows come from: files, workspaces that `sources:` or other flows fill, and keys
 * that other tools write. Brings them to the reconciler, at the start and whenever they change.
 */
export class FlowFeed {
  readonly workspaces: StoreWorkspaces;
  readonly #options: FlowFeedOptions;
  readonly #pollers = new Map<string, SourcePoller>();
  /** Sources that this node polls. */
  readonly #polls = new Set<string>();
  readonly #discovery: Discovery;
  #sources: FlowSources | null = null;

  constructor(options: FlowFeedOptions) {
    this.#options = options;
    const { stores, services: { clock }, log } = options;
    const check = snapshotChecker(this.#outside());
    this.workspaces = new StoreWorkspaces({ store: stores.system, clock, log, check });
    this.#discovery = new Discovery({
      store: stores.system,
      clock,
      log,
      signal: options.signal,
      known: options.config.sources.map(({ name }) => name),
      found: (name) => this.#sources!.add(this.#workspacePart(name, RANK.published)),
    });
  }

  /**
   * Applies what is there now; a source that cannot be reached keeps what its workspace has.
   *
   * @throws {FlowError} `source.*` when no flows could be read at all, or `sources:` names what
   *   cannot be read by anybody
   */
  async load(reconciler: Reconciler): Promise<void> {
    const { config, services, log, signal } = this.#options;
    const { clock, random } = services;
    const sources = this.#sources = new FlowSources({ reconciler, clock, random, log, signal });
    for (const [index, { name }] of config.sources.entries()) {
      sources.add(this.#workspacePart(name, RANK.configured + index));
    }
    for (const part of await this.#localParts()) sources.add(part);
    await this.#openSources();
    await this.#discovery.look();
    await sources.load();
  }

  /** Follows changes until the signal fires; resolves when nothing is under way any more. */
  async watch(): Promise<void> {
    const { services: { clock, random, cluster }, stores, log, signal } = this.#options;
    const store = stores.system;
    const { collectAgain } = await import("../workspace/collector.ts");
    await Promise.all([
      this.#sources!.watch(),
      this.#discovery.watch(),
      collectAgain({ store, clock, random, log, cluster, signal }),
      ...[...this.#pollers].map(([name, poller]) => this.#poll(name, poller)),
    ]);
  }

  /** One of the nodes that have a source polls it; they elect which, as they do for flows. */
  async #poll(name: string, poller: SourcePoller): Promise<void> {
    const { cluster } = this.#options.services;
    const give = () => {
      this.#polls.delete(name);
      return Promise.resolve();
    };
    const candidacy = cluster.stand(turnOfSource(name), {
      start: () => {
        this.#polls.add(name);
        poller.trigger();
      },
      drain: give,
      lose: give,
    });
    await poller.run();
    await candidacy.withdraw();
  }

  /** Flows that do not run because another source has one of the same name. */
  shadowed(): FlowStatus[] {
    return this.#sources?.shadowed() ?? [];
  }

  states(): SourceStatus[] {
    return this.#options.config.sources.flatMap(({ name, git }): SourceStatus[] => {
      const poller = this.#pollers.get(name);
      return poller ? [{ kind: git ? "git" : "oci", ...poller.state() }] : [];
    });
  }

  /** Workspaces as tasks may use them. */
  get guarded(): Workspaces {
    return guardedWorkspaces(this.workspaces, this.#options.config);
  }

  /**
   * Checks a source now and says what became of what it gave.
   *
   * @throws {FlowError} `source.unknown`, and what the check throws
   */
  async sync(name: string, options: { readonly force: boolean }): Promise<Published> {
    const published = await this.poller(name).check(options);
    if (published?.outcome === "activated") await this.#live(name);
    return published ?? standing(name, await this.workspaces.list());
  }

  /**
   * Goes back in a workspace; resolves when this node runs what it went back to.
   *
   * @throws {FlowError} as `Workspaces.rollback`
   */
  async rollback(name: string, version?: string): Promise<Published> {
    const published = await this.workspaces.rollback(name, version);
    await this.#live(name);
    return published;
  }

  /**
   * Takes a workspace away; resolves when nothing of it runs on this node.
   *
   * @throws {FlowError} `workspace.of_source`, and as `Workspaces.remove`
   */
  async remove(name: string): Promise<void> {
    await this.guarded.remove(name);
    await this.#live(name);
  }

  async #live(name: string): Promise<void> {
    await this.#sources!.refresh(`workspace:${name}`);
  }

  /** @throws {FlowError} `source.unknown` */
  poller(name: string): SourcePoller {
    const poller = this.#pollers.get(name);
    if (poller) return poller;
    const names = [...this.#pollers.keys()];
    const near = nearest(name, names);
    throw new FlowError("source.unknown", `There is no source "${name}" in config.yaml`, {
      hint: near
        ? `did you mean "${near}"?`
        : names.length > 0
        ? `there is ${names.join(", ")}`
        : "see sources in config.yaml",
    });
  }

  async #openSources(): Promise<void> {
    const { config, services, log, signal } = this.#options;
    if (config.sources.length === 0) return;
    const { clock, random } = services;
    const { SourcePoller } = await import("../workspace/poller.ts");
    for (const [index, one] of config.sources.entries()) {
      const { name, interval, prefix, activate } = one;
      const source = await openSource(config, index, services.remotes, log.with({ source: name }));
      const { workspaces } = this;
      this.#pollers.set(
        name,
        new SourcePoller({
          name,
          source,
          workspaces,
          interval,
          prefix,
          activate,
          clock,
          random,
          log,
          polls: () => this.#polls.has(name),
          signal,
        }),
      );
    }
  }

  async #localParts(): Promise<FlowPart[]> {
    const { config: { flows }, services: { clock }, stores } = this.#options;
    const found: FlowPart[] = [];
    if (flows.path !== undefined) {
      found.push({
        rank: RANK.files,
        source: parts.fileSource(flows.path, clock),
        beside: this.#beside(),
        loader: new FlowLoader("files", {
          ...this.#outside(),
          outside: false,
          env: wholeEnv(this.#variable),
          resources: this.#options.services.resources,
        }),
        watch: flows.watch,
      });
    }
    if (flows.cache?.enabled) {
      const { prefix, db_name } = flows.cache;
      const store = await stores.named(db_name);
      const source = new StoreFlows({ store, prefix, clock });
      const loader = new FlowLoader("store", this.#outside());
      found.push({ rank: RANK.keys, source, beside: this.#beside(), loader });
    }
    return found;
  }

  /** Shared resources: what they say is part of every flow that refers to them. */
  #beside(): Pick<Source, "watch">[] {
    const { config: { flows, resources }, services: { clock }, stored } = this.#options;
    const files = resources.path !== undefined && flows.watch
      ? [parts.fileSource(resources.path, clock)]
      : [];
    return stored ? [...files, stored] : files;
  }

  /** For flows that came from elsewhere, which see the variables of `flows.env` only. */
  #outside(): LoadOptions {
    const { config, definitions, services, shared } = this.#options;
    const env = listedEnv(this.#variable, config.flows.env);
    return { definitions, services, env, resources: shared, outside: true };
  }

  readonly #variable = (name: string): string | undefined => this.#options.env[name];

  #workspacePart(name: string, rank: number): FlowPart {
    const { stores, services: { clock } } = this.#options;
    return {
      rank,
      source: new WorkspaceSource({ store: stores.system, name, clock }),
      beside: this.#beside(),
      loader: new FlowLoader(`workspace:${name}`, this.#outside()),
    };
  }
}
