/** Runtimes that share a NATS and a folder of flows, and the journal of all they start. */
import { join } from "node:path";
import { parseDuration } from "../../../src/core/duration.ts";
import type { ClusterView } from "../../../src/flow/cluster.ts";
import { until } from "../nats/server.ts";
import { type Attempt, Journal } from "./journal.ts";
import { Node, type NodeOptions } from "./node.ts";

export interface SceneOptions {
  /** Where NATS is, by comma. */
  readonly url: string;
  readonly lease?: string;
  /** More of `cache` in config.yaml. */
  readonly cache?: Readonly<Record<string, unknown>>;
  /** More of config.yaml. */
  readonly config?: Readonly<Record<string, unknown>>;
}

/** `url`: this node's own way to NATS. */
export type StartOptions = { readonly url?: string } & Partial<NodeOptions>;

/** Far more than a node needs to see what it has to see; past it something hangs. */
export const PATIENCE = 60_000;

export class Scene implements AsyncDisposable {
  readonly nodes: Node[] = [];
  /** Milliseconds. */
  readonly lease: number;
  #started = 0;

  private constructor(
    readonly options: SceneOptions,
    readonly folder: string,
    readonly journal: Journal,
  ) {
    this.lease = parseDuration(options.lease ?? "6s");
  }

  static async open(options: SceneOptions): Promise<Scene> {
    const folder = await Deno.makeTempDir({ prefix: "flowgen-scene-" });
    await Deno.mkdir(join(folder, "flows"));
    return new Scene(options, folder, await Journal.open());
  }

  /** Starts a runtime and waits until its flows were looked at. */
  async start(options?: StartOptions): Promise<Node> {
    const node = await this.spawn(options);
    await node.up();
    return node;
  }

  /** Starts a runtime and goes on. */
  async spawn({ url = this.options.url, ...more }: StartOptions = {}): Promise<Node> {
    const node = await Node.spawn({
      name: `node-${++this.#started}`,
      folder: this.folder,
      config: {
        flows: { path: join(this.folder, "flows") },
        tasks: [join(import.meta.dirname!, "journal_tasks.ts")],
        cache: { type: "nats", url, ...this.options.cache },
        cluster: { lease_duration: this.options.lease ?? "6s" },
        ...this.options.config,
      },
      ...more,
    });
    this.nodes.push(node);
    return node;
  }

  /** Starts so many at once. */
  startAll(count: number): Promise<Node[]> {
    return Promise.all(Array.from({ length: count }, () => this.start()));
  }

  /** Writes flow files, which running nodes take up by themselves. */
  async flows(texts: Readonly<Record<string, string>>): Promise<void> {
    for (const [name, text] of Object.entries(texts)) {
      const path = join(this.folder, "flows", `${name}.yaml`);
      // A file is there whole, or not yet.
      await Deno.writeTextFile(`${path}.new`, text);
      await Deno.rename(`${path}.new`, path);
    }
  }

  async dropFlow(name: string): Promise<void> {
    await Deno.remove(join(this.folder, "flows", `${name}.yaml`));
  }

  /** An elected flow that starts attempts all the time; `state`: and counts them. */
  elected({ every = "20ms", state = false } = {}): string {
    return `flow:
  require_leader_election: true
  tasks:
    - pulse: { name: tick, every: ${every} }
    - journal:
        name: tell
        socket: ${this.journal.socket}
        ${state ? "state: true\n        concurrency: 1" : "concurrency: 64"}
`;
  }

  /** The runtime whose attempt this was. */
  nodeOf({ pid }: Pick<Attempt, "pid">): Node {
    const node = this.nodes.find((one) => one.pid === pid);
    if (!node) throw new Error(`No node of the scene has pid ${pid}`);
    return node;
  }

  get running(): Node[] {
    return this.nodes.filter((node) => node.running);
  }

  /** Waits until this node sees so many nodes, itself among them, that are all members. */
  async members(count: number, by = this.running[0]!, limit = PATIENCE): Promise<void> {
    await this.seen(({ nodes, member }) => member && nodes.length === count, by, limit);
  }

  /** Waits until a node sees what is looked for. */
  async seen(
    look: (view: ClusterView) => boolean,
    by = this.running[0]!,
    limit = PATIENCE,
  ): Promise<void> {
    let view: ClusterView | undefined;
    let why: unknown;
    try {
      await until(
        async () => {
          // A connection that was kept may have broken, or the network not be back yet.
          view = await by.view().catch((cause) => void (why = cause));
          return view !== undefined && look(view);
        },
        limit,
        `${by.name} sees it`,
      );
    } catch (cause) {
      throw new Error(`${JSON.stringify(view, null, 2)}\n${why ?? ""}\n${by.log}`, { cause });
    }
  }

  /** Waits until each of these flows started an attempt after now. */
  async alive(flows: readonly string[], limit = PATIENCE): Promise<Attempt[]> {
    return await Promise.all(
      flows.map((flow) =>
        this.journal.next((attempt) => attempt.flow === flow, limit, `${flow} does not run`)
          .catch((cause) => {
            throw new Error(this.running.map(({ log }) => log).join("\n\n"), { cause });
          })
      ),
    );
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.nodes.map((node) => node[Symbol.asyncDispose]()));
    await this.journal[Symbol.asyncDispose]();
    await Deno.remove(this.folder, { recursive: true });
  }
}
