/** A real OCI registry (CNCF distribution) on loopback, and `oras` to fill it. */
import { join } from "node:path";
import { provide } from "../provision.ts";

const REGISTRY = {
  name: "registry",
  module: "github.com/distribution/distribution/v3/cmd/registry",
  version: "v3.1.2",
  ask: ["--version"],
  // Older ones speak an older protocol.
  fits: (printed: string) => /distribution\/v3 v3\./.test(printed),
};

const ORAS = {
  name: "oras",
  module: "oras.land/oras/cmd/oras",
  version: "v1.3.6",
  ask: ["version"],
  fits: (printed: string) => /Version: +1\.[3-9]/.test(printed),
};

/** The user of a registry that asks for one, and the bcrypt hash of the password. */
export const USER = {
  username: "tester",
  password: "s3cret",
  hash: "$2a$05$Vx6dr0M3KGTKcvWpHqgfQemlOpkv.zH6YxNtqtzXIUPzOsDcZPgUa",
};

export interface RegistryOptions {
  /** Asks for `USER`. */
  readonly auth?: boolean;
  /** Default 127.0.0.1. */
  readonly address?: string;
}

/** Ends with `await using`. */
export class Registry implements AsyncDisposable {
  private constructor(
    /** `address:port`, the first part of references. */
    readonly host: string,
    readonly folder: string,
    readonly auth: boolean,
    readonly process: Deno.ChildProcess,
    readonly output: Promise<unknown>,
  ) {}

  static async start(
    { auth = false, address = "127.0.0.1" }: RegistryOptions = {},
  ): Promise<Registry> {
    const program = await provide(REGISTRY);
    const folder = await Deno.makeTempDir({ prefix: "flowgen-oci-" });
    await Deno.writeTextFile(join(folder, "htpasswd"), `${USER.username}:${USER.hash}\n`);
    const config = {
      version: "0.1",
      log: { level: "info", formatter: "text" },
      storage: { filesystem: { rootdirectory: join(folder, "data") }, delete: { enabled: true } },
      http: { addr: `${address}:0` },
      ...(auth && { auth: { htpasswd: { realm: "test", path: join(folder, "htpasswd") } } }),
    };
    // JSON is YAML too.
    await Deno.writeTextFile(join(folder, "config.yml"), JSON.stringify(config));
    const process = new Deno.Command(program, {
      args: ["serve", join(folder, "config.yml")],
      env: { OTEL_TRACES_EXPORTER: "none" },
      stdin: "null",
      stdout: "null",
      stderr: "piped",
    }).spawn();
    const { port, rest } = await listening(process.stderr);
    return new Registry(`${address}:${port}`, folder, auth, process, rest);
  }

  /** Runs `oras <args>` in a folder, which is where the paths of its files count from. */
  async oras(args: readonly string[], cwd = this.folder): Promise<string> {
    const login = this.auth ? ["-u", USER.username, "-p", USER.password] : [];
    const output = await new Deno.Command(await provide(ORAS), {
      args: [...args, "--plain-http", ...login],
      cwd,
      env: { DOCKER_CONFIG: this.folder },
    }).output();
    const decoder = new TextDecoder();
    if (output.success) return decoder.decode(output.stdout);
    throw new Error(`oras ${args[0]} failed: ${decoder.decode(output.stderr)}`);
  }

  /** A credentials file of `USER`. */
  async credentials(): Promise<string> {
    const path = join(this.folder, "credentials.json");
    const { username, password } = USER;
    await Deno.writeTextFile(path, JSON.stringify({ username, password }));
    return path;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.process.kill("SIGKILL");
    await this.process.status;
    await this.output;
    await Deno.remove(this.folder, { recursive: true });
  }
}

/** The port it listens on, which only its log tells; what it writes later must be read too. */
async function listening(
  stderr: ReadableStream<Uint8Array<ArrayBuffer>>,
): Promise<{ port: number; rest: Promise<unknown> }> {
  const reader = stderr.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) throw new Error(`The registry ended at once:\n${text}`);
    text += value;
    const port = /listening on [\d.]+:(\d+)\D/.exec(text)?.[1];
    if (port === undefined) continue;
    const rest = (async () => {
      while (!(await reader.read()).done);
    })();
    return { port: Number(port), rest };
  }
}
