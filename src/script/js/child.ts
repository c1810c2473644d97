/**
 * The child process that scripts run in. It has no permission, speaks frames over stdin and stdout
 * (`wire.ts`), and lets scripts run only in contexts of their own (`context.ts`). It must not import
 * packages: it starts with `--no-npm --no-remote`.
 */
import { Context } from "./context.ts";
import { WATCH, watcherSource } from "./watch.ts";
import { encodeFrame, type Frame, FrameReader } from "./wire.ts";

/** What a sync batch collects before it is sent: waiting longer would hold results back. */
const CHUNK_CHARS = 64 * 1024;
const CHUNK_MS = 5;

/** Entry of a child; it ends the process when stdin ends, so nothing stays behind a lost parent. */
export async function runChild(): Promise<void> {
  await new ScriptChild().run();
}

/** Everything of the platform that is needed later; the rest is taken away before a script runs. */
function takePlatform() {
  const { stdin, stdout, permissions, exit } = Deno;
  const names = ["run", "read", "write", "net", "env", "sys", "ffi", "import"] as const;
  for (const name of names) permissions.revokeSync({ name });
  const { setImmediate, performance, Worker, addEventListener } = globalThis;
  // Ctrl-C reaches the whole process group, but it is the parent that decides when scripts end.
  const signals: Deno.Signal[] = Deno.build.os === "windows" ? ["SIGINT"] : ["SIGINT", "SIGTERM"];
  for (const signal of signals) Deno.addSignalListener(signal, () => {});
  // A rejected promise nobody waits for is the script's business and must not end the child.
  addEventListener("unhandledrejection", (event) => event.preventDefault());
  return { stdin, stdout, exit, setImmediate, performance, Worker };
}

/** Behind the cage there is nothing to find either, as far as that can be had. */
function emptyGlobal(): void {
  for (
    const name of ["Deno", "process", "Worker", "fetch", "WebSocket", "EventSource", "caches"]
      .concat("localStorage", "sessionStorage", "navigator", "BroadcastChannel", "Buffer", "global")
  ) {
    try {
      Reflect.deleteProperty(globalThis, name);
    } catch {
      // Some of them refuse without the permission they would need.
    }
  }
}

class ScriptChild {
  readonly #platform = takePlatform();
  readonly #reader = new FrameReader();
  readonly #contexts = new Map<string, Context>();
  readonly #watch = new Int32Array(new SharedArrayBuffer(4 * WATCH.length));
  readonly #slices: (() => void | Promise<void>)[] = [];
  #working = false;
  #token = "";

  async run(): Promise<void> {
    const buffer = new Uint8Array(256 * 1024);
    for (;;) {
      const count = await this.#platform.stdin.read(buffer);
      if (count === null) return this.#platform.exit(0);
      this.#reader.push(buffer.subarray(0, count));
      for (let frame = this.#reader.next(); frame; frame = this.#reader.next()) this.#accept(frame);
      if (!this.#working) void this.#work();
    }
  }

  async #work(): Promise<void> {
    this.#working = true;
    for (let slice = this.#slices.shift(); slice; slice = this.#slices.shift()) await slice();
    this.#working = false;
  }

  #accept({ head, body }: Frame): void {
    const [type, ...words] = head;
    if (type === "hello") return this.#hello(words[0]!, Number(words[1]));
    this.#slices.push(() => {
      switch (type) {
        case "install":
          return this.#install(words[0]!, Number(words[1]), words[2] === "async", body);
        case "batch":
          return this.#batch(words[0]!, Number(words[1]), Number(words[2]), body);
        case "reply":
          return this.#reply(words, body);
        case "cancel":
          return this.#cancel(words);
        case "forget-script":
          return this.#contexts.get(words[0]!)?.forget(Number(words[1]));
        case "forget-flow":
          this.#contexts.delete(words[0]!);
      }
    });
  }

  #hello(token: string, memory: number): void {
    this.#token = token;
    const source = watcherSource(token, memory);
    const url = "data:text/javascript," + encodeURIComponent(source);
    emptyGlobal();
    this.#send("ready");
    const worker = new this.#platform.Worker(url, { type: "module" });
    worker.postMessage(this.#watch.buffer);
  }

  #install(flow: string, id: number, isAsync: boolean, body: string): void {
    let context = this.#contexts.get(flow);
    if (!context) this.#contexts.set(flow, context = new Context());
    const cut = body.indexOf("\n");
    const label = `flowgen-script-${id}`;
    const error = context.install(id, label, isAsync, body.slice(0, cut), body.slice(cut + 1));
    if (error !== "") this.#send(`refused ${id}`, error);
  }

  #batch(flow: string, batch: number, id: number, body: string): void | Promise<void> {
    const context = this.#contexts.get(flow);
    const waits = context?.waits(id);
    if (!context || waits === undefined) return this.#send(`unknown ${batch}`);
    this.#mark(batch, 0);
    const count = context.cage.load(id, body);
    if (typeof count !== "number") return;
    return waits
      ? this.#startAll(flow, context, batch, count)
      : this.#runAll(flow, context, batch, count);
  }

  #runAll(flow: string, { cage }: Context, batch: number, count: number): void {
    const { performance } = this.#platform;
    let from = 0;
    let results = "";
    let since = performance.now();
    for (let index = 0; index < count; index++) {
      this.#mark(batch, index);
      const result = asText(cage.one(index));
      results = results === "" ? result : results + "," + result;
      if (results.length < CHUNK_CHARS && performance.now() - since < CHUNK_MS) continue;
      this.#items(flow, cage.take());
      this.#send(`done ${batch} ${from}`, `[${results}]`);
      from = index + 1;
      results = "";
      since = performance.now();
    }
    // What was printed goes ahead: with its result, a script may be gone.
    this.#rest(flow, cage.take());
    if (results !== "") this.#send(`done ${batch} ${from}`, `[${results}]`);
  }

  /** One event per turn of the loop, so that what follows in its promises is still known as its own. */
  async #startAll(
    flow: string,
    { cage }: Context,
    batch: number,
    count: number,
  ): Promise<void> {
    for (let index = 0; index < count; index++) {
      this.#mark(batch, index);
      cage.start(index, batch);
      this.#send(`started ${batch} ${index}`);
      await this.#turn();
      this.#rest(flow, cage.take());
    }
  }

  async #reply([flow, call, ok, batch, index]: readonly string[], body: string): Promise<void> {
    const context = this.#contexts.get(flow!);
    if (!context) return;
    this.#mark(Number(batch), Number(index));
    context.cage.reply(Number(call), Number(ok), body);
    await this.#turn();
    this.#rest(flow!, context.cage.take());
  }

  #cancel([flow, batch, index]: readonly string[]): void {
    const context = this.#contexts.get(flow!);
    context?.cage.cancel(Number(batch), Number(index));
    if (context) this.#rest(flow!, context.cage.take());
  }

  #rest(flow: string, items: unknown): void {
    this.#items(flow, items);
    Atomics.store(this.#watch, WATCH.busy, 0);
  }

  #items(flow: string, items: unknown): void {
    if (typeof items === "string" && items !== "") this.#send(`items ${flow}`, `[${items}]`);
  }

  #mark(batch: number, index: number): void {
    const watch = this.#watch;
    Atomics.store(watch, WATCH.batch, batch);
    Atomics.store(watch, WATCH.index, index);
    Atomics.add(watch, WATCH.turn, 1);
    if (Atomics.exchange(watch, WATCH.busy, 1) === 0) Atomics.notify(watch, WATCH.busy);
  }

  /** Lets all promises of the contexts settle. */
  #turn(): Promise<void> {
    return new Promise((resolve) => this.#platform.setImmediate(resolve));
  }

  /** Frames without the token were written by someone else. */
  #send(head: string, body = ""): void {
    const frame = encodeFrame(`${this.#token} ${head}`, body);
    for (let from = 0; from < frame.length;) {
      from += this.#platform.stdout.writeSync(frame.subarray(from));
    }
  }
}

/** A context that no longer answers with text has broken its own tools. */
function asText(result: unknown): string {
  return typeof result === "string" ? result : '{"x":["script.failed","Script failed",null,0]}';
}

if (import.meta.main) {
  await runChild();
  Deno.exit(0);
}
