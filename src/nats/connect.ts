import type { ConnectionOptions } from "@nats-io/nats-core";
import { type Clock, systemClock } from "../core/clock.ts";
import { FlowError } from "../core/errors.ts";
import { systemRandom } from "../core/random.ts";
import { type Address, parseAddress } from "./address.ts";
import { type Credentials, loginCredentials, readCredentials } from "./credentials.ts";
import { connectError } from "./connect_error.ts";
import { Link, type NatsLease } from "./link.ts";
import type { NatsOptions, NatsTls } from "./options.ts";
import { connectTransport } from "./transport.ts";

export type { NatsLease, ServerFacts } from "./link.ts";

export interface NatsDeps {
  /** Gives up waiting for the first connection. */
  readonly signal?: AbortSignal;
  /** Checks a path and gives the one to read; `TaskContext.credentials`. */
  readonly credentials?: (path: string) => string;
  readonly clock?: Clock;
}

/** For the server to answer a new connection. */
const CONNECT_TIMEOUT = 5_000;

/** Between two attempts to reconnect, with as much jitter again. */
const RECONNECT_WAIT = 200;
const RECONNECT_JITTER = 800;

/** A connection that does not answer this often is taken for lost, after 10 to 15 seconds. */
const PING_INTERVAL = 5_000;
const UNANSWERED_PINGS = 2;

/** Connections by server and credentials, also those still being made. */
const shared = new Map<string, Promise<Link>>();

/**
 * A connection to these servers with these credentials: one for the whole process, shared by all who
 * ask. Fails at once when it cannot be made, so that callers can say so and try again.
 *
 * @throws {FlowError} `nats.unavailable` (try again), `nats.url_invalid`, `nats.credentials_invalid`,
 * `nats.auth_failed`, `nats.tls_failed`, `nats.transport_mixed`
 */
export async function acquireNats(options: NatsOptions, deps: NatsDeps = {}): Promise<NatsLease> {
  const { signal, clock = systemClock } = deps;
  const own = withPaths(options, deps.credentials);
  const address = parseAddress(own.url);
  const key = JSON.stringify([address, own.credentials_path, own.tls]);
  for (;;) {
    const link = shared.get(key) ?? open(key, address, own, clock);
    try {
      const lease = (await unlessAborted(link, signal, address)).lease();
      if (lease) return lease;
      // Its last user has just closed it.
    } finally {
      link.then((made) => made.closeUnused(), () => {});
    }
  }
}

function open(key: string, address: Address, options: NatsOptions, clock: Clock): Promise<Link> {
  const forget = () => {
    if (shared.get(key) === link) shared.delete(key);
  };
  const link = connect(address, options, clock, forget);
  shared.set(key, link);
  link.catch(forget);
  return link;
}

/** Gives up when the signal fires; the connection is then for those who still want it. */
function unlessAborted(
  link: Promise<Link>,
  signal: AbortSignal | undefined,
  { shown }: Address,
): Promise<Link> {
  if (!signal) return link;
  return new Promise((resolve, reject) => {
    const abort = () => {
      const stopped = `Cannot reach NATS at ${shown}: the attempt was stopped`;
      reject(new FlowError("nats.unavailable", stopped));
    };
    if (signal.aborted) return abort();
    signal.addEventListener("abort", abort, { once: true });
    link.then(resolve, reject).finally(() => signal.removeEventListener("abort", abort));
  });
}

async function connect(
  address: Address,
  options: NatsOptions,
  clock: Clock,
  onEnd: () => void,
): Promise<Link> {
  const { credentials_path: path, tls } = options;
  checkTls(address, tls);
  const client = await import("@nats-io/nats-core");
  const credentials = path !== undefined
    ? readCredentials(path, client)
    : address.login && loginCredentials(address.login, client);
  try {
    const connection = await connectTransport(address, clientOptions(address, tls, credentials));
    return new Link({ connection, address, credentials: credentials?.shown, clock, onEnd });
  } catch (cause) {
    throw connectError(cause, address, credentials);
  }
}

function clientOptions(
  { servers, transport, tls: encrypted }: Address,
  tls: NatsTls | undefined,
  credentials: Credentials | undefined,
): ConnectionOptions {
  return {
    servers: [...servers],
    name: "flowgen",
    authenticator: credentials?.authenticator,
    timeout: CONNECT_TIMEOUT,
    pingInterval: PING_INTERVAL,
    maxPingOut: UNANSWERED_PINGS,
    maxReconnectAttempts: -1,
    reconnectDelayHandler: () =>
      RECONNECT_WAIT + Math.floor(systemRandom.next() * RECONNECT_JITTER),
    // The first connection fails at once with wrong credentials either way; a later one must outlive
    // a server that does not know its users for a while.
    ignoreAuthErrorAbort: true,
    noAsyncTraces: true,
    ...(transport === "tcp" && (tls || encrypted) && {
      tls: { caFile: tls?.ca_path, certFile: tls?.cert_path, keyFile: tls?.key_path },
    }),
  };
}

/** The options with the paths that may be read. */
function withPaths(options: NatsOptions, check: (path: string) => string = (path) => path) {
  const checked = (path: string | undefined) => path === undefined ? undefined : check(path);
  const { url, credentials_path, tls } = options;
  return {
    url,
    credentials_path: checked(credentials_path),
    tls: tls && {
      ca_path: checked(tls.ca_path),
      cert_path: checked(tls.cert_path),
      key_path: checked(tls.key_path),
    },
  };
}

function checkTls({ transport, shown }: Address, tls: NatsTls | undefined): void {
  const paths = [tls?.ca_path, tls?.cert_path, tls?.key_path].filter((path) => path !== undefined);
  if (paths.length > 0 && transport === "websocket") {
    throw new FlowError("nats.tls_failed", `Cannot use TLS files for NATS at ${shown}`, {
      hint: "a WebSocket trusts what the system trusts: leave tls out, or use tls://",
    });
  }
  for (const path of paths) {
    try {
      Deno.readTextFileSync(path);
    } catch (cause) {
      const missing = cause instanceof Deno.errors.NotFound;
      const why = missing ? "there is no such file" : "cannot read it";
      throw new FlowError("nats.tls_failed", `Cannot use the TLS file ${path}: ${why}`, { cause });
    }
  }
}
