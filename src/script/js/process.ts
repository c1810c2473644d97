import type { Clock } from "../../core/clock.ts";
import { FlowError, textOf } from "../../core/errors.ts";
import { encodeFrame, type Frame, FrameReader } from "./wire.ts";

/** How to start a child with the given V8 flags. */
export interface ChildCommand {
  readonly command: string;
  readonly args: (v8Flags: string) => readonly string[];
  /** Its whole environment; a compiled binary takes the flags as `DENO_V8_FLAGS`. */
  readonly env?: (v8Flags: string) => Record<string, string>;
}

/** This very binary, with nothing allowed and no way to the registry. */
export function defaultCommand(): ChildCommand {
  if (Deno.build.standalone) {
    // A compiled binary runs only itself: a hidden command that gives up every permission first.
    return {
      command: Deno.execPath(),
      args: () => ["__script-child"],
      env: (v8Flags) => ({ DENO_V8_FLAGS: v8Flags }),
    };
  }
  return {
    command: Deno.execPath(),
    args: (v8Flags) => [
      "run",
      "--no-npm",
      "--no-remote",
      "--cached-only",
      "--no-prompt",
      "--no-config",
      "--no-lock",
      "--no-check",
      "--quiet",
      `--v8-flags=${v8Flags}`,
      new URL("./child.ts", import.meta.url).href,
    ],
  };
}

export interface ChildOptions {
  readonly command: ChildCommand;
  readonly clock: Clock;
  /** Bytes of heap. */
  readonly memory: number;
}

/** What a child says; all of it may be a lie once a script has got out of its cage. */
export interface ChildListener {
  frame(frame: Frame): void;
  /** The event at `index` of a batch keeps the child busy for `ms` by now. */
  at(batch: number, index: number, ms: number): void;
  /** The process has grown beyond `memory` and what it needs for itself. */
  tooBig(bytes: number): void;
  /** It is gone, whoever ended it; called once. */
  ended(outOfMemory: boolean): void;
}

/** What a child needs besides the heap of its scripts, measured at 60 MB, and some air. */
const OWN_MEMORY = 192 * 1024 * 1024;

/** A child that is not ready by then is hopeless; starting takes 50 ms on an idle machine. */
const START_TIMEOUT = 20_000;

/** A child as those see it who give it work. */
export type ChildHandle = Pick<Child, "send" | "kill" | "gone">;

/** One child process and the pipes to it. */
export class Child {
  readonly #process: Deno.ChildProcess;
  readonly #writer: WritableStreamDefaultWriter<Uint8Array>;
  readonly #token = crypto.randomUUID();
  #stderr = "";
  /** Settles when the process and its pipes are gone. */
  readonly gone: Promise<void>;

  private constructor(
    process: Deno.ChildProcess,
    readonly listener: ChildListener,
    ready: () => void,
  ) {
    this.#process = process;
    this.#writer = process.stdin.getWriter();
    this.#writer.closed.catch(() => {});
    // Nonsense in a pipe: a script that got out has nothing to say to us.
    const pipes = [this.#read(ready), this.#readErrors()]
      .map((reading) => reading.catch(() => this.kill()));
    this.gone = Promise.all([...pipes, process.status]).then(
      async () => {
        await this.#writer.close().catch(() => {});
        listener.ended(/out of memory|heap limit|allocation failed/i.test(this.#stderr));
      },
    );
  }

  /** @throws {FlowError} `script.child_start` */
  static async start(
    { command, clock, memory }: ChildOptions,
    listener: ChildListener,
  ): Promise<Child> {
    const heap = Math.max(16, Math.ceil(memory / 1024 / 1024));
    const flags = `--max-old-space-size=${heap},--disallow-code-generation-from-strings`;
    let process: Deno.ChildProcess;
    try {
      process = new Deno.Command(command.command, {
        args: [...command.args(flags)],
        clearEnv: true,
        env: command.env?.(flags),
        stdin: "piped",
        stdout: "piped",
        stderr: "piped",
      }).spawn();
    } catch (cause) {
      throw notStarted(textOf(cause), cause);
    }
    const ready = Promise.withResolvers<boolean>();
    const child = new Child(process, listener, () => ready.resolve(true));
    child.send(`hello ${child.#token} ${memory + OWN_MEMORY}`);
    const timer = clock.after(START_TIMEOUT, () => child.kill());
    const started = await Promise.race([ready.promise, child.gone.then(() => false)]);
    timer.clear();
    if (!started) throw notStarted(child.#stderr.trim().split("\n").slice(0, 3).join("; "));
    return child;
  }

  send(head: string, body?: string): void {
    // A broken pipe shows as the end of the process.
    this.#writer.write(encodeFrame(head, body)).catch(() => {});
  }

  kill(): void {
    try {
      this.#process.kill("SIGKILL");
    } catch {
      // It ended by itself meanwhile.
    }
  }

  async #read(ready: () => void): Promise<void> {
    const frames = new FrameReader();
    for await (const piece of this.#process.stdout) {
      frames.push(piece);
      for (let frame = frames.next(); frame; frame = frames.next()) {
        const [token, ...head] = frame.head;
        if (token !== this.#token) return this.kill();
        if (head[0] === "ready") ready();
        else this.listener.frame({ head, body: frame.body });
      }
    }
  }

  async #readErrors(): Promise<void> {
    let rest = "";
    const decoder = new TextDecoder();
    for await (const piece of this.#process.stderr) {
      const lines = (rest + decoder.decode(piece, { stream: true })).split("\n");
      rest = lines.pop()!.slice(-10_000);
      for (const line of lines) this.#line(line);
    }
    this.#line(rest);
  }

  #line(line: string): void {
    const [token, type, ...words] = line.split(" ");
    if (token !== this.#token) {
      if (this.#stderr.length < 10_000) this.#stderr += line + "\n";
    } else if (type === "at") {
      this.listener.at(Number(words[0]), Number(words[1]), Number(words[2]));
    } else if (type === "rss") {
      this.listener.tooBig(Number(words[0]));
    }
  }
}

function notStarted(why: string, cause?: unknown): FlowError {
  return new FlowError(
    "script.child_start",
    `Cannot start a process for scripts: ${why || "it ended"}`,
    {
      hint: "flowgen needs --allow-run for its own binary, or set scripts.isolation: none",
      cause,
    },
  );
}
