import { FlowError } from "../core/errors.ts";

const DEFAULT_PORTS: Record<string, number> = { nats: 4222, tls: 4222, ws: 80, wss: 443 };

/** What `NatsOptions.url` says. */
export interface Address {
  /** As nats-core takes them: `host:port`, or `wss://host:port/path`. */
  readonly servers: readonly string[];
  readonly transport: "tcp" | "websocket";
  /** Whether `tls://` asks for encryption. */
  readonly tls: boolean;
  readonly login: Login | undefined;
  /** For people: hosts and ports only. */
  readonly shown: string;
}

export type Login = { readonly token: string } | {
  readonly user: string;
  readonly password: string;
};

interface Part {
  readonly scheme: string;
  readonly server: string;
  readonly shown: string;
  readonly login: Login | undefined;
}

/**
 * Reads a list of addresses; they are one cluster, so what is said of one holds for all.
 *
 * @throws {FlowError} `nats.url_invalid`, without what stands in front of `@`
 */
export function parseAddress(url: string): Address {
  const parts = url.split(",").map((text) => text.trim()).filter(Boolean).map(parsePart);
  if (parts.length === 0) throw invalid(url, 'write one such as "localhost:4222"');
  const transports = new Set(parts.map(({ scheme }) => transportOf(scheme)));
  if (transports.size > 1) {
    throw invalid(url, "use ws:// and wss:// for all servers, or for none");
  }
  const logins = new Map(
    parts.filter(({ login }) => login).map(({ login }) => [JSON.stringify(login), login]),
  );
  if (logins.size > 1) {
    throw invalid(url, "write the same user in front of every server, or use credentials_path");
  }
  return {
    servers: parts.map(({ server }) => server),
    transport: transports.has("tcp") ? "tcp" : "websocket",
    tls: parts.some(({ scheme }) => scheme === "tls" || scheme === "wss"),
    login: logins.values().next().value,
    shown: parts.map(({ shown }) => shown).join(", "),
  };
}

function parsePart(text: string): Part {
  const scheme = /^([a-z][\w+.-]*):\/\//i.exec(text)?.[1]?.toLowerCase() ?? "nats";
  if (!(scheme in DEFAULT_PORTS)) throw invalid(text, "use nats://, tls://, ws:// or wss://");
  const rest = text.replace(/^[a-z][\w+.-]*:\/\//i, "");
  // A scheme that `URL` does not know keeps every port, also the usual ones of HTTP.
  const parsed = URL.parse(`nats://${rest}`);
  const isPath = transportOf(scheme) === "websocket";
  if (
    !parsed?.hostname || parsed.hash || (!isPath && (parsed.search || parsed.pathname.length > 1))
  ) {
    throw invalid(text, 'write host and port, such as "localhost:4222"');
  }
  const shown = `${parsed.hostname}:${parsed.port || DEFAULT_PORTS[scheme]}`;
  return {
    scheme,
    server: isPath ? `${scheme}://${shown}${parsed.pathname}${parsed.search}` : shown,
    shown,
    login: loginOf(parsed, text),
  };
}

function loginOf({ username, password }: URL, text: string): Login | undefined {
  if (username === "" && password === "") return undefined;
  try {
    const user = decodeURIComponent(username);
    return password === "" ? { token: user } : { user, password: decodeURIComponent(password) };
  } catch {
    throw invalid(text, "write % in user and password as %25");
  }
}

function transportOf(scheme: string): Address["transport"] {
  return scheme === "ws" || scheme === "wss" ? "websocket" : "tcp";
}

function invalid(text: string, hint: string): FlowError {
  return new FlowError(
    "nats.url_invalid",
    `Cannot use the NATS address "${withoutSecrets(text)}"`,
    {
      hint,
    },
  );
}

function withoutSecrets(text: string): string {
  return text.split(",").map((part) => {
    const scheme = /^\s*([a-z][\w+.-]*:\/\/)/i.exec(part)?.[1] ?? "";
    return scheme + part.trim().slice(scheme.length).replace(/^.*@/s, "").replace(/[?#].*$/s, "");
  }).join(",");
}
