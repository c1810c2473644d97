/** A TCP proxy between one client and its server, to be cut, silenced and slowed down. */
import { sleep, systemClock } from "../../../src/core/clock.ts";

type State =
  | "open"
  /** Connections end, and new ones are refused. */
  | "cut"
  /** Connections stay, and nothing passes: as when a network drops all packets. */
  | "silent";

export class Link implements AsyncDisposable {
  readonly #pairs = new Set<readonly Deno.TcpConn[]>();
  readonly #tasks = new Set<Promise<void>>();
  readonly #listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  readonly #serving = this.#serve();
  #state: State = "open";
  #opened = Promise.withResolvers<void>();
  readonly #over = new AbortController();
  /** Milliseconds that every byte from the server is late. */
  lag = 0;

  constructor(readonly port: number) {
    this.#opened.resolve();
  }

  /** What clients connect to instead. */
  get url(): string {
    return `127.0.0.1:${this.#listener.addr.port}`;
  }

  open(): void {
    this.#state = "open";
    this.#opened.resolve();
  }

  cut(): void {
    this.#shut("cut");
    this.#end();
  }

  silence(): void {
    this.#shut("silent");
  }

  get #closed(): boolean {
    return this.#over.signal.aborted;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#over.abort();
    this.#listener.close();
    this.#end();
    this.#opened.resolve();
    await this.#serving;
    await Promise.all(this.#tasks);
  }

  #shut(state: State): void {
    if (this.#state === "open") this.#opened = Promise.withResolvers();
    this.#state = state;
  }

  async #passable(): Promise<void> {
    while (this.#state === "silent" && !this.#closed) await this.#opened.promise;
  }

  #isCut(): boolean {
    return this.#state === "cut";
  }

  #end(): void {
    for (const pair of this.#pairs) for (const connection of pair) close(connection);
  }

  async #serve(): Promise<void> {
    try {
      for await (const client of this.#listener) this.#track(this.#join(client));
    } catch (cause) {
      if (!this.#closed) throw cause;
    }
  }

  #track(task: Promise<void>): void {
    const tracked = task.catch(() => {}).finally(() => this.#tasks.delete(tracked));
    this.#tasks.add(tracked);
  }

  async #join(client: Deno.TcpConn): Promise<void> {
    if (this.#isCut()) return close(client);
    const alone = [client];
    this.#pairs.add(alone);
    if (this.#state === "silent") await this.#opened.promise;
    this.#pairs.delete(alone);
    let server: Deno.TcpConn;
    try {
      server = await Deno.connect({ hostname: "127.0.0.1", port: this.port });
    } catch {
      return close(client);
    }
    const pair = [client, server];
    this.#pairs.add(pair);
    if (this.#closed || this.#isCut()) pair.forEach(close);
    await Promise.all([
      this.#pump(client, server, () => 0),
      this.#pump(server, client, () => this.lag),
    ]);
    this.#pairs.delete(pair);
  }

  /** Reads ahead of what is late, so that the lag is one of time and not of throughput. */
  async #pump(from: Deno.TcpConn, to: Deno.TcpConn, lag: () => number): Promise<void> {
    let written: Promise<void> = Promise.resolve();
    const buffer = new Uint8Array(65_536);
    try {
      for (;;) {
        // Whoever sends on and on finds its buffers full, as it would without a network.
        await this.#passable();
        const size = await from.read(buffer);
        if (size === null) break;
        const bytes = buffer.slice(0, size);
        const due = performance.now() + lag();
        written = written.then(() => this.#write(to, bytes, due));
        written.catch(() => close(from));
      }
    } catch {
      // One side has ended; so does the other.
    } finally {
      close(from);
      await written.catch(() => {});
      close(to);
    }
  }

  async #write(to: Deno.TcpConn, bytes: Uint8Array, due: number): Promise<void> {
    const wait = due - performance.now();
    if (wait > 0) await sleep(systemClock, wait, this.#over.signal);
    await this.#passable();
    for (let at = 0; at < bytes.length;) at += await to.write(bytes.subarray(at));
  }
}

function close(connection: Deno.Conn): void {
  try {
    connection.close();
  } catch {
    // It was closed from the other side.
  }
}
