/** A program of an example as a process of its own, whose lines can be waited for. */
import assert from "node:assert/strict";
import { linesOf } from "../cluster/journal_tasks.ts";
import { until } from "../nats/server.ts";

/** Far more than anything here takes; past it something hangs. */
export const PATIENCE = 60_000;

export class Program implements AsyncDisposable {
  readonly #lines: string[] = [];
  #ended = false;
  readonly #child: Deno.ChildProcess;
  readonly #reading: Promise<unknown>;

  constructor(args: readonly string[], env: Readonly<Record<string, string>>) {
    this.#child = new Deno.Command(Deno.execPath(), {
      args: [...args],
      env,
      stdin: "null",
      stdout: "piped",
      stderr: "piped",
    }).spawn();
    this.#reading = Promise.all([this.#read(this.#child.stdout), this.#read(this.#child.stderr)])
      .finally(() => this.#ended = true);
  }

  /** What the pattern found in the first line that has it. */
  async line(pattern: RegExp): Promise<RegExpExecArray> {
    await this.#until(() => this.has(pattern) !== null, () => `a line like ${pattern}`);
    return this.has(pattern)!;
  }

  /** The same of what it has said by now. */
  has(pattern: RegExp): RegExpExecArray | null {
    for (const line of this.#lines) {
      const found = pattern.exec(line);
      if (found) return found;
    }
    return null;
  }

  /** The JSON at one of its addresses, once it fits; connections that are refused count as not yet. */
  async json<T>(url: string, fits: (body: T) => boolean): Promise<T> {
    let body: T | undefined;
    await this.#until(
      async () => {
        try {
          body = await (await fetch(url)).json();
          return fits(body!);
        } catch {
          return false;
        }
      },
      () => `${url}, last ${JSON.stringify(body)}`,
    );
    return body!;
  }

  /** SIGTERM; its exit code. */
  async stop(): Promise<number> {
    this.#child.kill("SIGTERM");
    const { code } = await this.#child.status;
    await this.#reading;
    return code;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    try {
      await this.stop();
    } catch {
      // It has ended already.
    }
    await this.#child.status;
    await this.#reading;
  }

  async #until(look: () => boolean | Promise<boolean>, what: () => string): Promise<void> {
    let found = false;
    await until(
      async () => {
        // In this order: what it said last counts.
        const ended = this.#ended;
        return (found = await look()) || ended;
      },
      PATIENCE,
      "the program",
    ).catch(() => {});
    if (!found) assert.fail(`never came: ${what()}\n${this.#lines.join("\n")}`);
  }

  async #read(stream: ReadableStream<Uint8Array<ArrayBuffer>>): Promise<void> {
    for await (const line of linesOf(stream)) this.#lines.push(line);
  }
}
