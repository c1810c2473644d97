/** A connection that can be hurt: stands between clients and a server on loopback. */

export interface Proxy extends AsyncDisposable {
  /** `127.0.0.1:<port>`, for clients. */
  readonly url: string;
  /** Holds back what goes this way, until `heal` or `cut`. */
  hold(way: "to_server" | "to_client"): void;
  /** Lets everything through, beginning with what was held back. */
  heal(): void;
  /** Breaks all connections and forgets what was held back; new ones are taken at once. */
  cut(): void;
  /** Breaks all connections and refuses new ones, until `heal`. */
  refuse(): void;
  /** Bytes that came from clients and went on, or wait. */
  readonly received: number;
}

/** Listens on a free port and passes everything on to `127.0.0.1:<port>`. */
export function startProxy(port: number): Proxy {
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const pairs = new Set<Pair>();
  const held = new Set<"to_server" | "to_client">();
  let refusing = false;
  let received = 0;
  const cut = () => {
    held.clear();
    for (const pair of pairs) pair.close();
    pairs.clear();
  };
  const accepting = (async () => {
    for await (const client of listener) {
      const server = refusing
        ? null
        : await Deno.connect({ hostname: "127.0.0.1", port }).catch(() => null);
      if (!server) {
        client.close();
        continue;
      }
      const pair = new Pair(client, server, held, (bytes) => received += bytes);
      pairs.add(pair);
      pair.over.then(() => pairs.delete(pair));
    }
  })();
  return {
    url: `127.0.0.1:${(listener.addr as Deno.NetAddr).port}`,
    hold: (way) => void held.add(way),
    heal() {
      refusing = false;
      held.clear();
      for (const pair of pairs) pair.flush();
    },
    cut,
    refuse() {
      refusing = true;
      cut();
    },
    get received() {
      return received;
    },
    async [Symbol.asyncDispose]() {
      listener.close();
      const open = [...pairs];
      cut();
      // One that was just being joined to the server.
      await accepting;
      open.push(...pairs);
      cut();
      await Promise.all(open.map(({ over }) => over));
    },
  };
}

type Way = "to_server" | "to_client";

class Pair {
  readonly over: Promise<unknown>;
  readonly #waiting: { way: Way; data: Uint8Array }[] = [];
  #writing: Promise<unknown> = Promise.resolve();

  constructor(
    readonly client: Deno.Conn,
    readonly server: Deno.Conn,
    readonly held: ReadonlySet<Way>,
    readonly onReceived: (bytes: number) => void,
  ) {
    this.over = Promise.all([
      this.#pump(client, "to_server"),
      this.#pump(server, "to_client"),
    ]).then(() => this.#writing);
  }

  flush(): void {
    for (const { way, data } of this.#waiting.splice(0)) this.#write(way, data);
  }

  close(): void {
    for (const side of [this.client, this.server]) {
      try {
        side.close();
      } catch {
        // It was closed by the other end.
      }
    }
  }

  async #pump(from: Deno.Conn, way: Way): Promise<void> {
    const buffer = new Uint8Array(65_536);
    try {
      for (let n = await from.read(buffer); n !== null; n = await from.read(buffer)) {
        if (way === "to_server") this.onReceived(n);
        const data = buffer.slice(0, n);
        if (this.held.has(way)) this.#waiting.push({ way, data });
        else this.#write(way, data);
      }
    } catch {
      // It was cut.
    }
    this.close();
  }

  #write(way: Way, data: Uint8Array): void {
    const to = way === "to_server" ? this.server : this.client;
    this.#writing = this.#writing.then(async () => {
      for (let at = 0; at < data.length;) at += await to.write(data.subarray(at));
    }).catch(() => {});
  }
}
