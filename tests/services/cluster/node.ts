/** A runtime as a process of its own: to be killed, paused and asked. */
import { join } from "node:path";
import type { ClusterView } from "../../../src/flow/cluster.ts";
import { linesOf } from "./journal_tasks.ts";
import { until } from "../nats/server.ts";

const ROOT = join(import.meta.dirname!, "../../..");

/** Far more than a start takes on a busy machine; past it something hangs. */
const START_LIMIT = 60_000;

const KEPT_LINES = 200;

export interface NodeOptions {
  readonly name: string;
  /** Where the configuration and the control socket are put. */
  readonly folder: string;
  /** config.yaml as data; ports, socket and log are added. */
  readonly config: Readonly<Record<string, unknown>>;
  readonly env?: Readonly<Record<string, string>>;
  /** Words in front of the command, such as `ip netns exec name`; they must become the program. */
  readonly prefix?: readonly string[];
  /** Address of the health endpoints, for nodes that are not on the loopback interface. */
  readonly hostname?: string;
  readonly healthPort?: number;
}

export class Node implements AsyncDisposable {
  readonly pid: number;
  readonly ended: Promise<Deno.CommandStatus>;
  #healthPort = Promise.withResolvers<number>();
  #over = false;
  readonly #lines: string[] = [];
  readonly #reading: Promise<unknown>;

  private constructor(readonly options: NodeOptions, readonly process: Deno.ChildProcess) {
    this.pid = process.pid;
    this.#healthPort.promise.catch(() => {});
    this.#reading = Promise.all([this.#read(process.stdout), this.#read(process.stderr)]);
    this.ended = process.status.then(async (status) => {
      this.#over = true;
      await this.#reading;
      this.#healthPort.reject(new Error(`${options.name} ended\n${this.log}`));
      return status;
    });
  }

  /** Starts a process; see `up` for when it is ready. */
  static async spawn(options: NodeOptions): Promise<Node> {
    const { name, folder, config, prefix = [], env = {} } = options;
    const path = join(folder, `${name}.json`);
    const whole = {
      http_server: { enabled: false },
      health: { port: options.healthPort ?? 0 },
      control: { path: join(folder, `${name}.sock`) },
      retry: { max_attempts: 1 },
      telemetry: { log: { format: "json" } },
      ...config,
    };
    await Deno.writeTextFile(path, JSON.stringify(whole));
    const [command, ...args] = [
      ...prefix,
      Deno.execPath(),
      "run",
      `--config=${join(ROOT, "deno.json")}`,
      // What `deno task flowgen` gives, and no more.
      "--no-prompt",
      "--allow-net",
      "--allow-read",
      "--allow-write",
      "--allow-env",
      `--allow-run=${Deno.execPath()}`,
      join(ROOT, "src/main.ts"),
      "run",
      "--config",
      path,
    ];
    const process = new Deno.Command(command!, {
      args,
      cwd: folder,
      clearEnv: true,
      env: { ...INHERITED, ...env },
      stdin: "null",
      stdout: "piped",
      stderr: "piped",
    }).spawn();
    return new Node(options, process);
  }

  get name(): string {
    return this.options.name;
  }

  get running(): boolean {
    return !this.#over;
  }

  /** The last lines of its log. */
  get log(): string {
    return this.#lines.join("\n");
  }

  /** Resolves when it says that it runs. */
  async up(): Promise<void> {
    const late = setTimeout(
      () => this.#healthPort.reject(new Error(`${this.name} does not start\n${this.log}`)),
      START_LIMIT,
    );
    try {
      await this.#healthPort.promise;
    } finally {
      clearTimeout(late);
    }
  }

  /** What it sees of the cluster. */
  async view(): Promise<ClusterView> {
    return await (await this.#ask("/cluster")).json();
  }

  /** Status of `/readyz` and what it says. */
  async ready(): Promise<{ status: number; body: Record<string, unknown> }> {
    const response = await this.#ask("/readyz");
    return { status: response.status, body: await response.json() };
  }

  /** SIGKILL, and waits for its end. */
  async kill(): Promise<void> {
    if (!this.#over) this.process.kill("SIGKILL");
    await this.ended;
  }

  /** SIGTERM, and waits for its end. */
  async stop(): Promise<Deno.CommandStatus> {
    if (!this.#over) this.process.kill("SIGTERM");
    return await this.ended;
  }

  /** SIGSTOP: its sockets stay open and it does nothing. */
  pause(): void {
    this.process.kill("SIGSTOP");
  }

  /** SIGCONT. */
  resume(): void {
    this.process.kill("SIGCONT");
  }

  /** Waits for a line of its log. */
  async line(fits: (line: string) => boolean, limit: number, what: string): Promise<void> {
    await until(() => this.#lines.some(fits), limit, what);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.kill();
  }

  async #ask(path: string): Promise<Response> {
    const port = this.options.healthPort ?? await this.#healthPort.promise;
    return await fetch(`http://${this.options.hostname ?? "127.0.0.1"}:${port}${path}`);
  }

  async #read(stream: ReadableStream<Uint8Array<ArrayBuffer>>): Promise<void> {
    for await (const line of linesOf(stream)) {
      this.#lines.push(line);
      if (this.#lines.length > KEPT_LINES) this.#lines.shift();
      if (!line.includes('"Running"')) continue;
      this.#healthPort.resolve(JSON.parse(line).health_port);
    }
  }
}

/** Only what Deno itself needs: nobody's FLOWGEN_… shall decide about a test. */
const INHERITED = Object.fromEntries(
  ["PATH", "HOME", "DENO_DIR", "TMPDIR"].flatMap((name) =>
    Deno.env.has(name) ? [[name, Deno.env.get(name)!]] : []
  ),
);
