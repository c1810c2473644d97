/**
 * Real nats-servers on loopback, in folders of their own.
 *
 * ```ts
 * await using server = await startNats();
 * const { url } = server; // "127.0.0.1:40123"
 * await server.restart();
 *
 * await using cluster = await startNatsCluster();
 * await cluster.servers[0]!.kill();
 * ```
 */
import { join } from "node:path";
import { freePorts } from "../ports.ts";
import { provide } from "../provision.ts";

/** For those who start it elsewhere. */
export const NATS_SERVER = {
  name: "nats-server",
  module: "github.com/nats-io/nats-server/v2",
  version: "v2.15.2",
  ask: ["--version"],
  // Per-key TTL and limit markers came with 2.11.
  fits: (printed: string) => {
    const [, major, minor] = /v(\d+)\.(\d+)/.exec(printed) ?? [];
    return Number(major) > 2 || Number(major) === 2 && Number(minor) >= 11;
  },
};

/** Far more than a start takes; past it something hangs. */
const START_LIMIT = 60_000;
const STOP_LIMIT = 15_000;
const LOOK_EVERY = 20;

export interface NatsServerOptions {
  /** Default true. */
  readonly jetstream?: boolean;
  /** Writes every message to disk before it answers. Default false. */
  readonly sync?: boolean;
  /** Bytes; the server's own default is 1 MiB. */
  readonly maxPayload?: number;
  /** Another listener, for WebSocket without TLS; see `wsUrl`. */
  readonly websocket?: boolean;
  /** More of the configuration file, such as `authorization { token: "x" }` or `tls { … }`. */
  readonly config?: string;
  /** The program to run instead of the pinned one. */
  readonly program?: string;
}

export interface NatsServer extends AsyncDisposable {
  /** `127.0.0.1:<port>`; the same over restarts. */
  readonly url: string;
  readonly port: number;
  /** `ws://127.0.0.1:<port>`, with `websocket: true`. */
  readonly wsUrl: string;
  /** Of the monitoring endpoints, such as `/jsz`. */
  readonly monitorUrl: string;
  readonly name: string;
  /** Holds the configuration, the log (`server.log`) and JetStream's store. */
  readonly folder: string;
  readonly running: boolean;
  readonly pid: number;
  /** Starts it again where it was, with another configuration if one is given. */
  start(config?: string): Promise<void>;
  /** SIGTERM, and waits for its end. */
  stop(): Promise<void>;
  /** SIGKILL, and waits for its end. */
  kill(): Promise<void>;
  /** `stop` and `start`. */
  restart(config?: string): Promise<void>;
  /** SIGSTOP: sockets stay open and nobody answers. */
  pause(): void;
  /** SIGCONT. */
  resume(): void;
  log(): Promise<string>;
}

export interface NatsCluster extends AsyncDisposable {
  /** All servers by comma. */
  readonly url: string;
  readonly servers: readonly NatsServer[];
  /** Waits until JetStream has a leader and all running servers are part of it. */
  ready(): Promise<void>;
  /** The server that leads this stream; waits until there is one. */
  streamLeader(stream: string): Promise<NatsServer>;
}

/** Starts one server and waits until it can be used. */
export async function startNats(options: NatsServerOptions = {}): Promise<NatsServer> {
  const ports = freePorts(3);
  const server = await Server.make("solo", ports, options, "");
  try {
    await server.start();
    return server;
  } catch (cause) {
    await server[Symbol.asyncDispose]();
    throw cause;
  }
}

/** Ends servers that all tests of a file share, with the file. */
export function endWithTests(...servers: readonly NatsServer[]): void {
  addEventListener("unload", () => {
    for (const { pid } of servers) Deno.kill(pid, "SIGKILL");
    for (const { folder } of servers) removeSync(folder);
  });
}

/** Its process was killed and may still be about to make a file. */
function removeSync(folder: string): void {
  for (let left = 1_000;; left--) {
    try {
      return Deno.removeSync(folder, { recursive: true });
    } catch (cause) {
      if (left === 0) throw cause;
    }
  }
}

/** Starts a cluster and waits until JetStream has a leader. */
export async function startNatsCluster(
  { size = 3, ...options }: NatsServerOptions & { readonly size?: number } = {},
): Promise<NatsCluster> {
  const ports = freePorts(size * 4);
  const routes = Array.from({ length: size }, (_, i) => ports[i * 4 + 3]!);
  const servers: Server[] = [];
  const dispose = async () => {
    await Promise.all(servers.map((server) => server[Symbol.asyncDispose]()));
  };
  try {
    for (const [i, route] of routes.entries()) {
      const cluster = `cluster { name: test, listen: "127.0.0.1:${route}", routes: [` +
        routes.map((port) => `"nats://127.0.0.1:${port}"`).join(", ") + `] }\n`;
      servers.push(await Server.make(`n${i + 1}`, ports.slice(i * 4, i * 4 + 3), options, cluster));
    }
    await Promise.all(servers.map((server) => server.start()));
    const cluster: NatsCluster = {
      url: servers.map(({ url }) => url).join(","),
      servers,
      ready: () => clusterReady(servers),
      streamLeader: (stream) => streamLeader(servers, stream),
      [Symbol.asyncDispose]: dispose,
    };
    if (options.jetstream !== false) await cluster.ready();
    return cluster;
  } catch (cause) {
    await dispose();
    throw cause;
  }
}

class Server implements NatsServer {
  #child: Deno.ChildProcess | undefined;

  private constructor(
    readonly program: string,
    readonly name: string,
    readonly folder: string,
    readonly ports: readonly number[],
    readonly base: string,
    readonly jetstream: boolean,
    private extra: string,
  ) {}

  static async make(
    name: string,
    ports: readonly number[],
    options: NatsServerOptions,
    cluster: string,
  ): Promise<Server> {
    const program = options.program ?? await provide(NATS_SERVER);
    const folder = await Deno.makeTempDir({ prefix: "flowgen-nats-" });
    const { jetstream = true, sync, maxPayload, websocket, config = "" } = options;
    const base = [
      `server_name: ${name}`,
      `listen: "127.0.0.1:${ports[0]}"`,
      `http: "127.0.0.1:${ports[1]}"`,
      `pid_file: "${join(folder, "pid")}"`,
      jetstream && `jetstream { store_dir: "${join(folder, "data")}", max_mem: 256M, max_file: 4G` +
        `${sync ? ", sync_interval: always" : ""} }`,
      maxPayload && `max_payload: ${maxPayload}`,
      websocket && `websocket { listen: "127.0.0.1:${ports[2]}", no_tls: true }`,
      cluster,
    ].filter(Boolean).join("\n");
    return new Server(program, name, folder, ports, base, jetstream, config);
  }

  get url(): string {
    return `127.0.0.1:${this.port}`;
  }

  get port(): number {
    return this.ports[0]!;
  }

  get wsUrl(): string {
    return `ws://127.0.0.1:${this.ports[2]}`;
  }

  get monitorUrl(): string {
    return `http://127.0.0.1:${this.ports[1]}`;
  }

  get running(): boolean {
    return this.#child !== undefined;
  }

  get pid(): number {
    return this.#running().pid;
  }

  async start(config = this.extra): Promise<void> {
    if (this.#child) throw new Error(`${this.name} is running`);
    this.extra = config;
    const file = join(this.folder, "nats.conf");
    await Deno.writeTextFile(file, `${this.base}\n${config}\n`);
    const child = new Deno.Command(this.program, {
      // It writes by itself: what is read here would count as a leak of whatever test runs then.
      args: ["-c", file, "-l", join(this.folder, "server.log")],
      stdin: "null",
      stdout: "null",
      stderr: "inherit",
    }).spawn();
    this.#child = child;
    let started = false;
    const gone = child.status.then(async () => {
      if (this.#child === child) this.#child = undefined;
      if (started) return;
      throw new Error(`${this.name} did not start:\n${await this.log()}`);
    });
    gone.catch(() => {});
    // With clusters, JetStream is healthy only when the others are there; a server alone is at once.
    const path = this.base.includes("cluster {") ? "/varz" : "/healthz";
    await Promise.race([
      until(() => answers(this.monitorUrl + path), START_LIMIT, this.name),
      gone,
    ]);
    started = true;
  }

  async stop(): Promise<void> {
    await this.#end("SIGTERM");
  }

  async kill(): Promise<void> {
    await this.#end("SIGKILL");
  }

  async restart(config?: string): Promise<void> {
    await this.stop();
    await this.start(config);
  }

  pause(): void {
    this.#running().kill("SIGSTOP");
  }

  resume(): void {
    this.#running().kill("SIGCONT");
  }

  async log(): Promise<string> {
    return await Deno.readTextFile(join(this.folder, "server.log")).catch(() => "");
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#child) await this.kill();
    await Deno.remove(this.folder, { recursive: true }).catch(() => {});
  }

  async #end(signal: "SIGTERM" | "SIGKILL"): Promise<void> {
    const child = this.#running();
    this.#child = undefined;
    child.kill(signal);
    // One that is paused, or hangs, does not hear SIGTERM.
    const late = setTimeout(() => child.kill("SIGKILL"), STOP_LIMIT);
    await child.status;
    clearTimeout(late);
  }

  #running(): Deno.ChildProcess {
    if (!this.#child) throw new Error(`${this.name} is not running`);
    return this.#child;
  }
}

/** Looks again and again, without an end but the limit. */
export async function until(
  look: () => boolean | Promise<boolean>,
  limit: number,
  what: string,
): Promise<void> {
  const end = performance.now() + limit;
  while (!await look()) {
    if (performance.now() > end) throw new Error(`${what}: nothing happened in ${limit} ms`);
    await new Promise((resolve) => setTimeout(resolve, LOOK_EVERY));
  }
}

async function answers(url: string): Promise<boolean> {
  try {
    const response = await fetch(url);
    await response.body?.cancel();
    return response.ok;
  } catch {
    return false;
  }
}

interface Jsz {
  readonly meta_cluster?: { readonly leader?: string; readonly cluster_size?: number };
  readonly account_details?: readonly {
    readonly stream_detail?: readonly { name: string; cluster?: { leader?: string } }[];
  }[];
}

async function jsz(server: Server, query = ""): Promise<Jsz> {
  try {
    return await (await fetch(`${server.monitorUrl}/jsz${query}`)).json();
  } catch {
    return {};
  }
}

async function clusterReady(servers: readonly Server[]): Promise<void> {
  const running = servers.filter((server) => server.running);
  await until(
    async () => {
      const seen = await Promise.all(running.map((server) => jsz(server)));
      const leaders = new Set(seen.map((one) => one.meta_cluster?.leader));
      return leaders.size === 1 && !leaders.has(undefined) && !leaders.has("") &&
        (await Promise.all(running.map((one) => answers(`${one.monitorUrl}/healthz`)))).every(
          Boolean,
        );
    },
    START_LIMIT,
    "the cluster has no leader",
  );
}

async function streamLeader(servers: readonly Server[], stream: string): Promise<Server> {
  let leader: Server | undefined;
  await until(
    async () => {
      const running = servers.filter((server) => server.running);
      const seen = await Promise.all(running.map((server) => jsz(server, "?streams=true")));
      const names = seen.flatMap((one) => one.account_details ?? [])
        .flatMap((account) => account.stream_detail ?? [])
        .filter(({ name }) => name === stream).map(({ cluster }) => cluster?.leader);
      leader = running.find(({ name }) => names.includes(name));
      return leader !== undefined;
    },
    START_LIMIT,
    `the stream ${stream} has no leader`,
  );
  return leader!;
}
