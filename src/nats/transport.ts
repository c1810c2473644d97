import type { Socket } from "node:net";
import type { ConnectionOptions, NatsConnection } from "@nats-io/nats-core";
import { FlowError } from "../core/errors.ts";
import type { Address } from "./address.ts";

let inUse: Address["transport"] | undefined;

/**
 * The only place that knows what carries a connection: TCP by `transport-node`, which runs under Deno
 * as fast as anything made for it, or the platform's WebSocket, which stalls for 40 ms on larger
 * frames but needs nothing else than HTTP.
 *
 * @throws {FlowError} `nats.transport_mixed`; what the client throws stays as it is
 */
export async function connectTransport(
  { transport, shown }: Address,
  options: ConnectionOptions,
): Promise<NatsConnection> {
  // nats-core has one transport for the whole process and asks for it at every reconnection.
  if (inUse !== undefined && inUse !== transport) {
    throw new FlowError(
      "nats.transport_mixed",
      `Cannot connect to NATS at ${shown} by ${transport} in a process that uses ${inUse}`,
      { hint: "use ws:// and wss:// for all NATS servers, or for none" },
    );
  }
  inUse = transport;
  return transport === "tcp" ? await connectTcp(options) : await connectWebSocket(options);
}

async function connectWebSocket(options: ConnectionOptions): Promise<NatsConnection> {
  const { wsconnect } = await import("@nats-io/nats-core");
  return await wsconnect(options);
}

async function connectTcp(options: ConnectionOptions): Promise<NatsConnection> {
  const { NodeTransport, nodeResolveHost } = await import(
    "@nats-io/transport-node/lib/node_transport.js"
  );
  const { NatsConnectionImpl, setTransportFactory } = await import("@nats-io/nats-core/internal");
  class Transport extends NodeTransport {
    override async dial(to: Parameters<typeof this.connect>[0]): Promise<Socket> {
      return keepListening(await super.dial(to));
    }
    override async startTLS() {
      return keepListening(await super.startTLS());
    }
  }
  const made: Transport[] = [];
  setTransportFactory({
    factory: () => {
      const transport = new Transport();
      made.push(transport);
      return transport;
    },
    dnsResolveFn: nodeResolveHost,
  });
  try {
    return await NatsConnectionImpl.connect(options);
  } catch (cause) {
    // One that gave no sign of life would keep its socket.
    for (const transport of made) transport.discard();
    throw cause;
  } finally {
    setTransportFactory({ factory: () => new Transport(), dnsResolveFn: nodeResolveHost });
  }
}

const ignore = () => {};

/**
 * The transport takes its listeners off before it is done with a socket; an error that nobody listens
 * to, such as a reset by a server that refused us, would end the process.
 */
function keepListening<S extends Socket>(socket: S): S {
  const remove = socket.removeAllListeners.bind(socket);
  socket.removeAllListeners = (...which) => {
    remove(...which);
    return socket.listeners("error").includes(ignore) ? socket : socket.on("error", ignore);
  };
  return socket.on("error", ignore);
}
