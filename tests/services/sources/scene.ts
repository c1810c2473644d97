/** A repository behind a real Git server, and runtimes that run what it holds. */
import assert from "node:assert/strict";
import { createHmac } from "node:crypto";
import { join } from "node:path";
import { askNode } from "../../../src/cli/control_client.ts";
import { checkConfig, type ConfigInput } from "../../../src/config/load.ts";
import { silentLog } from "../../../src/core/log.ts";
import type { Published, WorkspaceView } from "../../../src/flow/workspace.ts";
import { createRuntime, type Runtime, type RuntimeOptions } from "../../../src/runtime.ts";
import {
  type GitServer,
  type GitServerOptions,
  makeRepository,
  type Repository,
  serveGit,
} from "../git/http_server.ts";
import { until } from "../nats/server.ts";

export const SECRET = "a secret of the test";

/** A second, five times: what takes longer than that again and again is too slow. */
export const CEILING = 5_000;
/** What is waited for on the busiest machine: what takes longer hangs. */
export const PATIENCE = 60_000;

/** A flow that answers a path with a text. */
export const answers = (path: string, text: string) =>
  `flow:
  tasks:
    - http_endpoint: { name: in, endpoint: ${path} }
    - http_respond: { name: out, body: "${text}" }
`;

export interface Scene {
  /** Below it are stores, sockets and files of secrets. */
  readonly folder: string;
  readonly server: GitServer;
  readonly repository: Repository;
  /** `sources:` with the repository as `demo`; no polling within a test unless told. */
  source(more?: Record<string, unknown>): Record<string, unknown>;
  /** Starts a runtime that is stopped with the scene, if not before. */
  start(config?: Record<string, unknown>, options?: RuntimeOptions): Promise<Live>;
  /** Writes a file below the folder; gives its path. */
  write(name: string, text: string): Promise<string>;
}

export async function withScene(
  run: (scene: Scene) => Promise<void>,
  options: GitServerOptions = {},
): Promise<void> {
  await using stack = new AsyncDisposableStack();
  const folder = await Deno.makeTempDir({ prefix: "flowgen-sources-" });
  stack.defer(() => Deno.remove(folder, { recursive: true }));
  const server = stack.use(serveGit(join(folder, "git"), options));
  const repository = await makeRepository(join(folder, "git"), "flows");
  const source = (more: Record<string, unknown> = {}) => ({
    name: "demo",
    git: { url: `${server.url}/flows.git`, branch: "main" },
    interval: "1h",
    webhook: { type: "github", secret: SECRET },
    ...more,
  });
  let started = 0;
  await run({
    folder,
    server,
    repository,
    source,
    async start(config = {}, options) {
      const own = join(folder, `node${started++}`);
      const live = new Live(
        {
          cache: { path: join(folder, "store.sqlite3") },
          control: { path: join(own, "c.sock") },
          http_server: { port: 0, hostname: "127.0.0.1" },
          health: { enabled: false },
          scripts: { isolation: "none" },
          sources: [source()],
          ...config,
        } as ConfigInput,
        options,
      );
      stack.use(live);
      await live.runtime.start();
      return live;
    },
    async write(name, text) {
      const path = join(folder, name);
      await Deno.writeTextFile(path, text);
      return path;
    },
  });
}

/** A runtime, as its callers and its operators meet it. */
export class Live implements AsyncDisposable {
  readonly runtime: Runtime;
  readonly #socket: string;

  constructor(config: ConfigInput, options: RuntimeOptions = {}) {
    const checked = checkConfig(config);
    this.#socket = checked.control.path;
    this.runtime = createRuntime(checked, { log: silentLog, ...options });
  }

  /** What a path answers over the port: `[status, body]`. */
  async get(path: string): Promise<[number, unknown]> {
    const response = await fetch(this.#url(path));
    return [response.status, await response.json()];
  }

  /** Waits until a path answers with the text; gives the milliseconds. */
  async answers(path: string, text: string): Promise<number> {
    const start = performance.now();
    await until(
      async () => {
        const [status, body] = await this.get(path);
        return status === 200 && body === text;
      },
      PATIENCE,
      `${path} does not answer ${text}`,
    );
    return performance.now() - start;
  }

  /** A push as GitHub tells of it; gives the status. */
  async push(name = "demo", secret = SECRET): Promise<number> {
    const body = JSON.stringify({ ref: "refs/heads/main" });
    const signature = createHmac("sha256", secret).update(body).digest("hex");
    const response = await fetch(this.#url(`/webhooks/sources/${name}`), {
      method: "POST",
      body,
      headers: { "x-github-event": "push", "x-hub-signature-256": `sha256=${signature}` },
    });
    await response.body?.cancel();
    return response.status;
  }

  /** As `flowgen sync`. */
  async sync(name = "demo", force = false): Promise<Published> {
    const ask = { body: { force }, patience: PATIENCE };
    return await askNode(this.#socket, `/sources/${name}/sync`, ask) as Published;
  }

  /** As `flowgen rollback`. */
  async rollback(version?: string): Promise<Published> {
    const ask = { body: { version }, patience: PATIENCE };
    return await askNode(this.#socket, "/workspaces/demo/rollback", ask) as Published;
  }

  async workspaces(): Promise<WorkspaceView[]> {
    return await askNode(this.#socket, "/workspaces", { patience: PATIENCE }) as WorkspaceView[];
  }

  /** State of each flow, and what is wrong with it. */
  flows(): Record<string, string> {
    return Object.fromEntries(
      this.runtime.status().flows.map(({ identity, state, error }) => [
        identity,
        error ? `${state} ${error.code}` : state,
      ]),
    );
  }

  async until(what: string, holds: () => boolean | Promise<boolean>): Promise<void> {
    await until(holds, PATIENCE, what);
  }

  async stop(): Promise<void> {
    await this.runtime.stop(5_000);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }

  #url(path: string): string {
    return `http://127.0.0.1:${this.runtime.status().http!.port}${path}`;
  }
}

/**
 * Takes a step that must not take longer, and tells how long it took. A machine that stood still meanwhile
 * says nothing about it: then another step like it is taken, three at most.
 *
 * @param step Gives the milliseconds; `attempt` counts from 1.
 */
export async function promptly(
  what: string,
  limit: number,
  step: (attempt: number) => Promise<number>,
): Promise<void> {
  for (let attempt = 1;; attempt++) {
    const ms = await step(attempt);
    tell(what, ms);
    if (ms <= limit) return;
    assert.ok(attempt < 3, `${what}: ${Math.round(ms)} ms, the third time over ${limit} ms`);
  }
}

/** For people who read what the tests print. */
export function tell(what: string, ms: number): void {
  console.log(`  ${what}: ${Math.round(ms)} ms`);
}
