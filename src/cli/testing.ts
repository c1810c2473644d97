/** The program as a process of its own, in a folder of its own: for `tests/cli_test.ts`. */
import assert from "node:assert/strict";
import { dirname, join } from "node:path";

const ROOT = join(import.meta.dirname!, "../..");

/** Only what Deno itself needs: nobody's FLOWGEN_… or LOG_FORMAT shall decide about a test. */
const ENV = Object.fromEntries(
  ["PATH", "HOME", "DENO_DIR", "TMPDIR", "USERPROFILE", "LOCALAPPDATA", "SYSTEMROOT"]
    .flatMap((name) => Deno.env.has(name) ? [[name, Deno.env.get(name)!]] : []),
);

/** Milliseconds, far more than any command takes: one that hangs fails its own test. */
const LIMIT = 60_000;

export interface Ended {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** A temporary folder with these files, to run commands in. */
export class Folder implements AsyncDisposable {
  private constructor(readonly path: string) {}

  static async with(files: Readonly<Record<string, string>> = {}): Promise<Folder> {
    const folder = new Folder(await Deno.realPath(await Deno.makeTempDir({ prefix: "flowgen-" })));
    for (const [name, text] of Object.entries(files)) {
      await Deno.mkdir(dirname(join(folder.path, name)), { recursive: true });
      await Deno.writeTextFile(join(folder.path, name), text);
    }
    return folder;
  }

  /** Runs `flowgen <args>` to its end. */
  async flowgen(
    args: readonly string[],
    { stdin = "", env = {} }: { stdin?: string; env?: Record<string, string> } = {},
  ): Promise<Ended> {
    const process = this.#command(args, "piped", env).spawn();
    const writer = process.stdin.getWriter();
    // A command that does not read its input may be gone before it is written.
    await writer.write(new TextEncoder().encode(stdin)).catch(() => {});
    await writer.close().catch(() => {});
    const late = setTimeout(() => process.kill("SIGKILL"), LIMIT);
    const { code, stdout, stderr } = await process.output().finally(() => clearTimeout(late));
    const decoder = new TextDecoder();
    return { code, stdout: decoder.decode(stdout), stderr: decoder.decode(stderr) };
  }

  /** Starts `flowgen <args>` and goes on. */
  start(args: readonly string[]): Running {
    return new Running(this.#command(args, "null", {}).spawn());
  }

  #command(args: readonly string[], stdin: "piped" | "null", env: Record<string, string>) {
    return new Deno.Command(Deno.execPath(), {
      args: [
        "run",
        `--config=${join(ROOT, "deno.json")}`,
        "--no-prompt",
        "--allow-net",
        "--allow-read",
        "--allow-write",
        "--allow-env",
        "--allow-sys",
        `--allow-run=${Deno.execPath()}`,
        join(ROOT, "src/main.ts"),
        ...args,
      ],
      cwd: this.path,
      clearEnv: true,
      env: { ...ENV, ...env },
      stdin,
      stdout: "piped",
      stderr: "piped",
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Deno.remove(this.path, { recursive: true });
  }
}

/** A process that goes on until it is told to stop. */
export class Running implements AsyncDisposable {
  readonly #lines: AsyncIterator<string>;
  readonly #stderr: Promise<string>;
  readonly #seen: string[] = [];

  constructor(readonly process: Deno.ChildProcess) {
    this.#lines = linesOf(process.stdout);
    this.#stderr = new Response(process.stderr).text();
  }

  /** The next line on stdout that `fits`; lines before it are over. */
  async line(fits: (line: string) => boolean): Promise<string> {
    for (;;) {
      const { value, done } = await this.#lines.next();
      if (done) {
        const all = [...this.#seen, await this.#stderr].join("\n");
        assert.fail(`It ended without the line that was waited for:\n${all}`);
      }
      this.#seen.push(value);
      if (fits(value)) return value;
    }
  }

  /** The next log record with this message. */
  async record(message: string): Promise<Record<string, unknown>> {
    return JSON.parse(await this.line((line) => JSON.parse(line).message === message));
  }

  signal(signal: "SIGINT" | "SIGTERM"): void {
    this.process.kill(signal);
  }

  /** Waits for the end; `stdout` is what nobody has asked for yet. */
  async ended(): Promise<Ended> {
    const rest: string[] = [];
    for (let one = await this.#lines.next(); !one.done; one = await this.#lines.next()) {
      rest.push(one.value);
    }
    const { code } = await this.process.status;
    return { code, stdout: rest.join("\n"), stderr: await this.#stderr };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    try {
      this.process.kill("SIGKILL");
    } catch {
      // It has ended already.
    }
    await this.ended();
  }
}

/** A server that keeps its one request waiting. */
export class Upstream implements AsyncDisposable {
  readonly #asked = Promise.withResolvers<void>();
  readonly #answer = Promise.withResolvers<string>();
  readonly #server = Deno.serve({ port: 0, hostname: "127.0.0.1", onListen() {} }, async () => {
    this.#asked.resolve();
    return new Response(await this.#answer.promise);
  });
  readonly port = this.#server.addr.port;
  readonly asked = this.#asked.promise;

  answer(text: string): void {
    this.#answer.resolve(text);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.answer("");
    await this.#server.shutdown();
  }
}

async function* linesOf(stream: ReadableStream<Uint8Array<ArrayBuffer>>): AsyncGenerator<string> {
  let rest = "";
  for await (const part of stream.pipeThrough(new TextDecoderStream())) {
    const lines = (rest + part).split("\n");
    rest = lines.pop()!;
    yield* lines;
  }
  if (rest !== "") yield rest;
}
