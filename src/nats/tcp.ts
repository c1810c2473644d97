/** The transport of `@nats-io/transport-node`, imported here only and when the first connection is made. */
import type { Socket } from "node:net";
import { connect, type TLSSocket } from "node:tls";
import { nodeResolveHost, NodeTransport } from "@nats-io/transport-node/lib/node_transport.js";

export { nodeResolveHost };

/**
 * Listens to errors of its sockets at all times. `NodeTransport` leaves gaps: between two steps of a
 * handshake, and after it let go of a socket. A server that refuses us hangs up right then, and an
 * error that nobody listens to would end the process.
 */
export class SafeTransport extends NodeTransport {
  /** What a socket complained of first, in case nobody else heard it. */
  firstError: Error | undefined;

  override async dial(to: { hostname: string; port: number }): Promise<Socket> {
    return this.#keepListening(await super.dial(to));
  }

  override async peekInfo(): ReturnType<NodeTransport["peekInfo"]> {
    const info = await super.peekInfo();
    // With TLS 1.3 the server's refusal comes when all seems well, and often gets lost.
    if (info.tls_verify && !this.options.tls?.certFile) {
      throw new Error("the server asks for a certificate");
    }
    return info;
  }

  override async startTLS(): Promise<TLSSocket> {
    const { ca, cert, key } = (this.options.tls && await this.loadClientCerts()) || {};
    const { promise, resolve, reject } = Promise.withResolvers<TLSSocket>();
    const options = { socket: this.socket, servername: this.tlsName, ca, cert, key };
    const socket = this.#keepListening(connect(options, () => {
      socket.removeAllListeners();
      resolve(socket);
    }));
    socket.on("error", reject);
    socket.on("close", () => reject(new Error("the server closed the connection")));
    return await promise;
  }

  /**
   * Lets go at once of a server that does not answer. `NodeTransport` would send first what is left,
   * for which a network that drops everything lets it wait for a quarter of an hour.
   */
  override disconnect(): void {
    void this.close(new Error("the server does not answer"));
  }

  #keepListening<S extends Socket>(socket: S): S {
    const note = (error: Error) => void (this.firstError ??= error);
    const remove = socket.removeAllListeners.bind(socket);
    socket.removeAllListeners = (...which) => {
      remove(...which);
      return socket.listeners("error").includes(note) ? socket : socket.on("error", note);
    };
    return socket.on("error", note);
  }
}
