import { type Clock, sleep, systemClock } from "../core/clock.ts";
import { FlowError, textOf } from "../core/errors.ts";
import { uuid7 } from "../flow/event.ts";
import { errorAnswer } from "../flow/http.ts";

export interface ListenOptions {
  fetch(request: Request): Response | Promise<Response>;
  /** 0 takes any free port. Left out together with `hostname` when `path` is given. */
  readonly port?: number;
  readonly hostname?: string;
  /** Where the port is set, for messages: `http_server.port`. */
  readonly setting?: string;
  /** Of a unix socket; only its owner may use it. */
  readonly path?: string;
  /** Hears what broke; a client whose request did is answered 500 with the same id. */
  onError(cause: unknown, correlationId?: string): void;
  readonly clock?: Clock;
}

export interface Listener {
  /** The port in use, 0 for a unix socket. */
  readonly port: number;
  /**
   * Stops accepting, lets open requests end, and answers 503 to those that have not after
   * `deadlineMs`. Never rejects.
   */
  stop(deadlineMs: number): Promise<void>;
}

/** For those last answers to reach their clients, milliseconds. */
const LAST_WORDS = 250;

/**
 * Serves `fetch` on a TCP port or a unix socket.
 *
 * @throws {FlowError} `runtime.port_in_use`, `runtime.listen_failed`
 */
export async function listen(options: ListenOptions): Promise<Listener> {
  const { fetch, onError, path, clock = systemClock } = options;
  const open = new Set<(response: Response) => void>();

  // Deno cannot abort a server that is already shutting down, so we hold the answers ourselves.
  const handler = (request: Request): Response | Promise<Response> => {
    const answer = fetch(request);
    if (!(answer instanceof Promise)) return answer;
    return new Promise((resolve, reject) => {
      open.add(resolve);
      answer.then(
        (response) => {
          open.delete(resolve);
          resolve(response);
        },
        (cause) => {
          open.delete(resolve);
          reject(cause);
        },
      );
    });
  };
  const common = {
    onListen() {},
    onError(cause: unknown) {
      const correlation_id = uuid7(clock.now());
      onError(cause, correlation_id);
      const message = "The request failed";
      return errorAnswer(500, { code: "http.internal", message, correlation_id });
    },
  };

  let server: Deno.HttpServer<Deno.Addr>;
  try {
    if (path === undefined) {
      const { port = 0, hostname = "0.0.0.0" } = options;
      server = Deno.serve({ port, hostname, ...common }, handler);
    } else {
      await removeStaleSocket(path);
      server = servePrivately(path, () => Deno.serve({ path, ...common }, handler));
    }
  } catch (cause) {
    throw cannotListen(options, cause);
  }

  return {
    port: server.addr.transport === "tcp" ? server.addr.port : 0,
    async stop(deadlineMs) {
      const ended = server.shutdown().catch((cause) => onError(cause));
      await atMost(clock, deadlineMs, ended);
      for (const resolve of open) {
        const error = {
          code: "http.stopping",
          message: "The server is stopping",
          correlation_id: uuid7(clock.now()),
        };
        resolve(errorAnswer(503, error, { connection: "close" }));
      }
      open.clear();
      await atMost(clock, LAST_WORDS, ended);
      // What is left now are clients that do not read or write; they must not keep us alive.
      server.unref();
      if (path !== undefined) await Deno.remove(path).catch(() => {});
    },
  };
}

async function atMost(clock: Clock, ms: number, work: Promise<unknown>): Promise<void> {
  const enough = new AbortController();
  await Promise.race([work, sleep(clock, ms, enough.signal)]);
  enough.abort();
}

/**
 * Only the owner may use the socket. It is made that way where we may set the umask; else its rights are
 * taken away right after, before the event loop has a turn.
 */
function servePrivately<T>(path: string, serve: () => T): T {
  if (Deno.build.os === "windows") return serve();
  if (Deno.permissions.querySync({ name: "sys", kind: "umask" }).state !== "granted") {
    const server = serve();
    Deno.chmodSync(path, 0o600);
    return server;
  }
  const before = Deno.umask(0o177);
  try {
    return serve();
  } finally {
    Deno.umask(before);
  }
}

/** A socket file outlives a process that was killed; one that nobody answers is in the way. */
async function removeStaleSocket(path: string): Promise<void> {
  const info = await Deno.lstat(path).catch(() => null);
  if (!info?.isSocket) return;
  try {
    (await Deno.connect({ transport: "unix", path })).close();
  } catch (cause) {
    if (cause instanceof Deno.errors.ConnectionRefused) await Deno.remove(path);
  }
}

function cannotListen(
  { port, path, setting = "the port" }: ListenOptions,
  cause: unknown,
): FlowError {
  const place = path === undefined ? `port ${port ?? 0}` : `socket ${path}`;
  if (cause instanceof Deno.errors.AddrInUse) {
    return new FlowError("runtime.port_in_use", `Cannot listen on ${place}: it is in use`, {
      hint: path === undefined
        ? `set ${setting} to another number, or stop the other program`
        : "another flowgen runs in this folder; stop it first",
      cause,
    });
  }
  const reason = textOf(cause);
  return new FlowError("runtime.listen_failed", `Cannot listen on ${place}: ${reason}`, { cause });
}
