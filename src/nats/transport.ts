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
  const { SafeTransport, nodeResolveHost } = await import("./tcp.ts");
  const { NatsConnectionImpl, setTransportFactory } = await import("@nats-io/nats-core/internal");
  const made: InstanceType<typeof SafeTransport>[] = [];
  setTransportFactory({
    factory: () => {
      const transport = new SafeTransport();
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
    const unheard = made.find(({ firstError }) => firstError)?.firstError;
    throw (cause as Error | undefined)?.name === "TimeoutError" && unheard ? unheard : cause;
  } finally {
    setTransportFactory({ factory: () => new SafeTransport(), dnsResolveFn: nodeResolveHost });
  }
}
