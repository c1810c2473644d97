import type { NatsConnection, Status } from "@nats-io/nats-core";
import { type Clock, sleep } from "../core/clock.ts";
import { FlowError, textOf } from "../core/errors.ts";
import { logFor } from "../core/log.ts";
import type { Address } from "./address.ts";
import { isRefusal } from "./connect_error.ts";

/** A share in a connection. Disposing the last one closes it, after what was published has left. */
export interface NatsLease extends AsyncDisposable {
  /**
   * Finds its way back by itself, and subscriptions with it. When it breaks, requests under way fail
   * at once with a `RequestError`; whether the server got them is open.
   */
  readonly connection: NatsConnection;
  /** Why it is not connected now, or `null`. */
  readonly trouble: string | null;
  /** What the server said of itself when it was last connected. */
  readonly server: ServerFacts;
  /**
   * Waits until there is a connection: what is sent without one may get lost without an error.
   *
   * @param ms How long, at most.
   * @throws {FlowError} `nats.unavailable`
   */
  ready(ms: number, signal?: AbortSignal): Promise<void>;
  /** Calls `listener` after every loss and return of the connection; gives what ends that. */
  onChange(listener: (trouble: string | null) => void): () => void;
}

/** What a server says of itself. */
export interface ServerFacts {
  readonly version: string;
  /** Bytes of one message with its headers. */
  readonly maxPayload: number;
  readonly jetstream: boolean;
  readonly name: string;
}

/** What was published gets this long to leave when the last user goes. */
const DRAIN_LIMIT = 2_000;

/** Errors of a server that are remembered as logged; some have names in them that are always new. */
const MOST_TOLD = 100;

/** Requests that wait for an answer; nats-core lets them run into their timeouts. */
interface Internals {
  readonly protocol: { readonly muxSubscriptions: { close(): void } };
}

/** One connection with its users. */
export class Link {
  readonly #connection: NatsConnection;
  readonly #address: Address;
  readonly #credentials: string | undefined;
  readonly #clock: Clock;
  readonly #onEnd: () => void;
  readonly #listeners = new Set<(trouble: string | null) => void>();
  readonly #watching: Promise<void>;
  #server: ServerFacts;
  #trouble: string | null = null;
  /** What was logged since the last connection was made. */
  readonly #told = new Set<string>();
  #users = 0;
  #closing: Promise<void> | undefined;

  /** @param onEnd Called once, when there is nothing to share any more. */
  constructor({ connection, address, credentials, clock, onEnd }: {
    connection: NatsConnection;
    address: Address;
    credentials: string | undefined;
    clock: Clock;
    onEnd: () => void;
  }) {
    this.#connection = connection;
    this.#address = address;
    this.#credentials = credentials;
    this.#clock = clock;
    this.#onEnd = onEnd;
    this.#server = factsOf(connection, undefined);
    this.#watching = this.#watch();
  }

  /** `null` when it is closed, or about to be. */
  lease(): NatsLease | null {
    if (this.#closing || this.#connection.isClosed()) return null;
    this.#users++;
    const trouble = () => this.#trouble;
    const server = () => this.#server;
    const own = new Set<() => void>();
    let disposed = false;
    return {
      connection: this.#connection,
      get trouble() {
        return trouble();
      },
      get server() {
        return server();
      },
      ready: (ms, signal) => this.#ready(ms, signal),
      onChange: (listener) => {
        const call = (trouble: string | null) => listener(trouble);
        this.#listeners.add(call);
        const end = () => void (this.#listeners.delete(call), own.delete(end));
        own.add(end);
        return end;
      },
      [Symbol.asyncDispose]: async () => {
        if (disposed) return;
        disposed = true;
        for (const end of own) end();
        this.#users--;
        await this.closeUnused();
      },
    };
  }

  /** Closes the connection unless somebody uses it. */
  async closeUnused(): Promise<void> {
    if (this.#users === 0) await (this.#closing ??= this.#close());
  }

  async #close(): Promise<void> {
    this.#onEnd();
    const limit = new AbortController();
    const late = sleep(this.#clock, DRAIN_LIMIT, limit.signal);
    // Draining waits for a server that may be gone.
    if (this.#trouble === null) {
      await Promise.race([this.#connection.drain().catch(() => {}), late]);
    }
    if (!this.#connection.isClosed()) await Promise.race([this.#connection.close(), late]);
    limit.abort();
    await this.#watching;
  }

  async #watch(): Promise<void> {
    for await (const status of this.#connection.status()) this.#note(status);
    // It never gives up by itself; should it do so all the same, the next user gets a new one.
    if (!this.#closing) this.#change("the connection was closed");
    this.#onEnd();
  }

  #note(status: Status): void {
    const log = logFor("nats");
    const server = this.#address.shown;
    switch (status.type) {
      case "disconnect":
        // Nobody will answer what was asked on the old connection.
        (this.#connection as unknown as Internals).protocol.muxSubscriptions.close();
        if (this.#trouble !== null || this.#closing) return;
        log.warning("Lost the connection to NATS; connecting again", { server });
        return this.#change("the connection was lost");
      case "reconnect":
        this.#server = factsOf(this.#connection, this.#server);
        this.#told.clear();
        if (this.#trouble === null) return;
        log.info("Connected to NATS again", { server, now: status.server });
        return this.#change(null);
      case "ldm":
        log.warning("A NATS server is about to stop; connecting to another", {
          server: status.server,
        });
        return;
      case "error":
        return this.#noteError(status.error);
      case "slowConsumer":
        log.warning("A NATS subscription falls behind", { server, pending: status.pending });
        return;
    }
  }

  #noteError(error: Error): void {
    const log = logFor("nats");
    const server = this.#address.shown;
    if (isRefusal(error)) {
      const trouble = `the server refuses ${this.#credentials ?? "to serve without credentials"}`;
      if (this.#trouble === trouble) return;
      log.error("NATS refuses the credentials; trying again", { server, trouble });
      return this.#change(trouble);
    }
    // Such as something forbidden, which several tasks may try again and again.
    const text = textOf(error);
    if (this.#told.has(text)) return;
    if (this.#told.size >= MOST_TOLD) this.#told.clear();
    this.#told.add(text);
    log.warning("NATS reports an error", { server, error: text });
  }

  #change(trouble: string | null): void {
    this.#trouble = trouble;
    for (const listener of [...this.#listeners]) listener(trouble);
  }

  #ready(ms: number, signal?: AbortSignal): Promise<void> {
    if (this.#trouble === null) return Promise.resolve();
    return new Promise((resolve, reject) => {
      const end = (done: () => void) => {
        timer.clear();
        this.#listeners.delete(look);
        signal?.removeEventListener("abort", giveUp);
        done();
      };
      const look = (trouble: string | null) => {
        if (trouble === null) end(resolve);
      };
      const giveUp = () => {
        const why = this.#trouble ?? "the attempt was stopped";
        const text = `Cannot reach NATS at ${this.#address.shown}: ${why}`;
        end(() => reject(new FlowError("nats.unavailable", text)));
      };
      const timer = this.#clock.after(ms, giveUp);
      this.#listeners.add(look);
      signal?.addEventListener("abort", giveUp, { once: true });
      if (signal?.aborted) giveUp();
    });
  }
}

function factsOf({ info }: NatsConnection, last: ServerFacts | undefined): ServerFacts {
  if (!info) return last ?? { version: "0.0.0", maxPayload: 0, jetstream: false, name: "" };
  return {
    version: info.version,
    maxPayload: info.max_payload,
    jetstream: info.jetstream ?? false,
    name: info.server_name,
  };
}
